"""Fuzzing of what is read from others: what the bus receives, the configuration, and cameras' passwords.

python -m benchmarks.fuzz TARGET [--seconds 60] [--corpus DIR]

With atheris (`pip install atheris`) mutations follow the code's coverage, else they are made blindly from the
corpus. Whatever the bytes are, a target may raise what its caller expects, and nothing else. tests/events
replays the corpora.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gaitstream.config.masking import mask
from gaitstream.config.reading import load_config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.errors import ConfigError
from gaitstream.events import CameraOnline
from gaitstream.events.codec import MalformedError, Stamp, decode
from gaitstream.events.link import split_batch
from gaitstream.events.ordering import Ordering
from gaitstream.events.replay import decode_request
from gaitstream.events.segment import Record, pack, parse
from gaitstream.events.wire import EventBatch, Heads, Reply, Request

CORPUS = Path(__file__).parents[1] / "tests" / "events" / "corpus"
CAMS = b"""x-all: &all {fps: 15, regions: [[[0, 0], [1, 0], [1, 1]]]}
cameras:
  - {id: gate, url: "rtsp://${USER:-me}:pw@10.0.0.5/1", <<: *all}
  - {id: hall, url: hall.mp4, min_height_px: 2e2, loop: true}
models: {detector: demo, recognizers: {gaitheat: {weight: 0.5}}}
gallery: {path: people.gallery, threshold: 0.31, retention: {sighting_days: 30}}
events: {endpoint: "tcp://127.0.0.1:5556", journal_fsync: batch}
"""
SHOWN = "rtsp://***@10.0.0.5/live"
OPEN = f"cannot open {SHOWN}: 401"
Target = Callable[[bytes], None]


def request(data: bytes) -> None:
    """A message to the replay socket."""
    try:
        decode_request(data)
    except (ValueError, RecursionError):
        return


def event(data: bytes) -> None:
    """A payload, as a subscriber gets it."""
    try:
        decode(data)
    except MalformedError:
        return


def journal(data: bytes) -> None:
    """Bytes of a journal's file: what is found is whole, in order, and the end is reached."""
    for whole in (True, False):
        found = parse(data, whole=whole)
        if not 0 <= found.end <= len(data):
            raise AssertionError(f"the end is {found.end} of {len(data)}")
        if whole and found.end != len(data):
            raise AssertionError("something was left")
        for offset, record in found.records:
            if data[offset : offset + len(pack(record))] != pack(record):
                raise AssertionError("a record is not what is there")


def live(data: bytes) -> None:
    """A message on the publishing socket, as a subscriber gets it: header, a zero byte, payloads."""
    header, _, payloads = data.partition(b"\0")
    ordering = Ordering()
    ordering.replayed(Reply(publisher="p", live="e", epoch="e", after=0, to=0, done=True), [])
    try:
        heads = msgspec.json.decode(header, type=Heads)
        ordering.heads(heads.publisher, heads.epoch, heads.seq)
    except (ValueError, RecursionError):
        pass
    try:
        batch = msgspec.json.decode(header, type=EventBatch)
        ordering.live(batch, split_batch(batch, payloads))
    except (ValueError, RecursionError):
        return


def reply(data: bytes) -> None:
    """An answer of the replay socket."""
    try:
        answer = msgspec.json.decode(data, type=Reply)
    except (ValueError, RecursionError):
        return
    ordering = Ordering(cursor={"e": 5})
    ordering.replayed(answer, [b"{}"] * len(answer.seqs))
    msgspec.json.encode(ordering.request(1, 1))


def configuration(data: bytes) -> None:
    """A `cams.yaml`."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            load_config(file.name, {"HOME": "/home/nobody"})
        except ConfigError:
            return


def password(data: bytes) -> None:
    """A camera's user and password: shown nowhere, whatever letters are in them; nor raises any text."""
    text = data.decode("utf-8", "replace")
    url = SecretUrl(f"rtsp://{text}@10.0.0.5/live")
    for shown in (str(url), url.scrub(OPEN.replace(SHOWN, url.reveal()))):
        told = [word for word in re.findall(r"\w{5,}", text) if word in shown and word not in OPEN]
        if told:
            raise AssertionError(f"{url.reveal()!r} is shown as {shown!r}: {told}")
    url.fault()
    mask(text)


TARGETS: dict[str, Target] = {
    "request": request, "event": event, "journal": journal, "live": live, "reply": reply,
    "configuration": configuration, "password": password,
}  # fmt: skip


def seeds(name: str) -> list[bytes]:
    """Well-formed inputs to begin with."""
    stamped = CameraOnline(time_ns=5, camera="gate", width=640, latency_ms={"a": 1.5})
    record = pack(Record("identity/a", 7, b"{}", 9, "0123456789abcdef"))
    return {
        "request": [
            msgspec.json.encode(Request(id=3, cursor={"e": 5}, prefixes=["identity/"], credit=4)),
            b'{"since":"beginning"}',
        ],
        "event": [Stamp("p", "e").encode(stamped, 1, 5), Stamp("p", "e", "msgpack").encode(stamped, 1, 5)],
        "journal": [record * 3, record + b"torn" + record, record[:20]],
        "live": [
            msgspec.json.encode(EventBatch("p", "e", 1, ["t", "u"], [2, 2])) + b"\0{}{}",
            msgspec.json.encode(Heads("p", "e", 4, 1)),
        ],
        "reply": [
            msgspec.json.encode(
                Reply(
                    id=1, publisher="p", live="e", epoch="e", after=0, to=2, done=True, seqs=[1, 2],
                    topics=["t", "t"], times=[1, 2],
                )
            )
        ],
        "configuration": [CAMS],
        "password": [b"admin:hun#ter2", b"me:/a?b@c d", b"rtsp://x:y@z/user=a_password=b_channel=1.sdp?pw=c"],
    }[name]  # fmt: skip


def corpus(name: str) -> list[bytes]:
    """Seeds, and what earlier runs found to be worth keeping."""
    return seeds(name) + [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def blindly(name: str, seconds: float, seed: int) -> int:
    """Mutate the corpus for a while; returns the number of inputs tried."""
    source = random.Random(seed)
    known, tried = corpus(name), 0
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        data = bytearray(source.choice(known))
        for _ in range(source.randint(1, 8)):
            at = source.randrange(len(data) + 1)
            action = source.randrange(4)
            if action == 0 and data:
                data[at % len(data)] ^= 1 << source.randrange(8)
            elif action == 1:
                data[at:at] = source.choice((b"\0", b"\xff", b"[" * 2000, b'"', b"-1", b"1e999", b"\xf5GSR"))
            elif action == 2:
                del data[at : at + source.randint(1, 20)]
            else:
                other = source.choice(known)
                data[at:at] = other[: source.randrange(len(other) + 1)]
        TARGETS[name](bytes(data))
        tried += 1
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="where atheris keeps what it finds (default: none)")
    args = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print(f"{args.target}: {blindly(args.target, args.seconds, int(time.time()))} inputs, none raised")
        return
    target = TARGETS[args.target]
    atheris.instrument_all()
    words = [sys.argv[0], f"-max_total_time={args.seconds}", "-max_len=4096", "-print_final_stats=1"]
    if args.corpus is not None:
        folder = args.corpus / args.target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds(args.target)):
            (folder / f"seed{number}").write_bytes(data)
        words.append(str(folder))
    atheris.Setup(words, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

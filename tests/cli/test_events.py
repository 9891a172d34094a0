"""`gaitstream events`, `watch`, `keys` and `sink`, against a real bus."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gaitstream.cli import main
from gaitstream.errors import EventError
from gaitstream.events import (
    CameraOffline,
    IdentityDecided,
    IdentityFinal,
    Journal,
    Positions,
    Publisher,
    TrackStarted,
)
from gaitstream.events.follower import Follower
from gaitstream.events.readable import ReadableFilter, readable


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(Journal(tmp_path / "journal"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher:
        yield publisher


def known(camera: str, person: str, *, provisional: bool = False) -> IdentityDecided:
    return IdentityDecided(
        time_ns=1_764_127_521_000_000_000, camera=camera, track=3, status="known", person=person,
        distance=0.51, threshold=0.8, provisional=provisional,
    )  # fmt: skip


def at(publisher: Publisher) -> list[str]:
    return ["--endpoint", publisher.endpoint, "--replay", publisher.replay]


def test_tail_prints_topic_and_number(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    publisher.publish(known("gate", "Ada"))
    publisher.publish(CameraOffline(time_ns=1, camera="gate", cause="error"))
    assert main(["events", "tail", *at(publisher), "--beginning", "--count", "2"]) == 0
    first, second = (msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines())
    assert (first["topic"], first["seq"], first["person"]) == ("identity/gate", 1, "Ada")
    assert (second["topic"], second["seq"]) == ("camera/gate", 2)


def test_tail_writes_out_what_a_terminal_would_obey(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "A\x1b\x9b2J\x7f\u202eda"
    publisher.publish(known("gate", name))
    assert main(["events", "tail", *at(publisher), "--beginning", "--count", "1"]) == 0
    line = capsys.readouterr().out.rstrip("\n")
    assert line.isprintable()
    assert msgspec.json.decode(line)["person"] == name


def test_tail_says_when_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert main(["events", "tail", "--endpoint", f"tcp://127.0.0.1:{port}", "--beginning"]) == 1
    assert "nobody answers" in capsys.readouterr().err


def test_tail_takes_a_time(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    publisher.publish(known("gate", "Ada"))
    assert main(["events", "tail", *at(publisher), "--since", "1h", "--count", "1"]) == 0
    assert main(["events", "tail", *at(publisher), "--since", "noon"]) == 2
    assert "how long ago" in capsys.readouterr().err


def test_watch_shows_who_is_wanted(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    for event in (
        known("gate", "Ada", provisional=True),
        known("yard", "Ada"),
        known("gate", "Bob"),
        known("gate", "Ada"),
    ):
        publisher.publish(event)
    words = ["watch", *at(publisher), "--since", "beginning", "--camera", "gate", "--person", "Ada"]
    assert main([*words, "--count", "1"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert "gate" in line
    assert "#3 Ada at 0.51 of 0.80" in line
    assert "provisional" not in line


def test_a_line_has_no_control_characters() -> None:
    line = readable(known("gate", "\x1b[31mAda\nBob"))
    assert line.isprintable()
    assert "Ada\\nBob" in line


def test_choices() -> None:
    final = IdentityFinal(time_ns=1, camera="a", track=1, status="unknown", reason="below_threshold")
    started = TrackStarted(time_ns=1, camera="a", track=1)
    assert ReadableFilter().takes(final)
    assert not ReadableFilter().takes(started)
    assert ReadableFilter(everything=True).takes(started)
    assert not ReadableFilter(cameras=frozenset({"b"})).takes(final)
    assert not ReadableFilter(persons=frozenset({"Ada"})).takes(final)
    assert "unknown (below_threshold) for good" in readable(final)


def test_schema_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "schema"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["$defs"]["IdentityConfirmed"]
    assert main(["events", "schema", "--asyncapi"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["asyncapi"] == "3.0.0"


def test_export_while_it_is_written(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.publish(known("gate", "Ada"))
    out = tmp_path / "out.csv"
    words = ["events", "export", "--journal", str(tmp_path / "journal"), "--out"]
    assert main([*words, str(out)]) == 0
    assert "1 events" in capsys.readouterr().err
    assert out.read_text().startswith("topic,type,schema,event_id,")
    assert main([*words, "-"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["person"] == "Ada"


def test_an_export_ends_now_or_so_long_ago(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.publish(known("gate", "Ada"))
    words = ["events", "export", "--journal", str(tmp_path / "journal"), "--out", "-", "--until"]
    for until, events in (("now", 1), ("1h", 0)):
        assert main([*words, until]) == 0
        assert f"{events} events" in capsys.readouterr().err
    assert main([*words, "noon"]) == 2
    assert "'noon' is no time; give one as" in capsys.readouterr().err


def test_keys_let_in_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--folder", str(tmp_path / "keys")]
    assert main(["keys", "new", "server", *keys]) == 0
    assert "set events.keys" in capsys.readouterr().out
    assert main(["keys", "new", "wall", *keys]) == 0
    assert main(["keys", "allow", str(tmp_path / "keys" / "wall.pub"), *keys]) == 0
    assert main(["keys", "list", *keys]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("  wall")
    journal = Journal(tmp_path / "secured")
    with Publisher(journal, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", keys=tmp_path / "keys") as publisher:
        publisher.publish(known("gate", "Ada"))
        key = [
            "--key",
            str(tmp_path / "keys" / "wall.key"),
            "--server-key",
            str(tmp_path / "keys" / "server.pub"),
        ]
        assert main(["events", "tail", *at(publisher), *key, "--beginning", "--count", "1"]) == 0
    assert main(["keys", "revoke", "wall", *keys]) == 0
    assert main(["keys", "revoke", "wall", *keys]) == 1


def test_a_sink_is_started_with_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sink",
        "webhook",
        "--journal",
        str(tmp_path / "nothing"),
        "--url",
        "http://127.0.0.1:1/",
        "--once",
    ]
    assert main(words) == 1
    assert "there is no journal" in capsys.readouterr().err
    (tmp_path / "journal").mkdir()
    words[3] = str(tmp_path / "journal")
    assert main(words) == 0
    assert main(["sink", "mqtt", "--journal", words[3], "--broker", "host", "--once"]) == 2


def test_two_sinks_of_one_journal_have_cursors_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Publisher(Journal(tmp_path / "journal"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher:
        publisher.publish(known("gate", "Ada"))
        place = Positions({publisher.journal.id.hex(): {publisher.journal.epoch: 1}})

    def start(url: str, *words: str) -> int:
        return main(
            ["sink", "webhook", "--journal", str(tmp_path / "journal"), "--url", url, "--once", *words]
        )

    def cursors() -> set[Path]:
        return set(tmp_path.glob("journal.webhook.*.cursor"))

    assert start("http://127.0.0.1:1/one") == 0
    [one] = cursors()
    assert start("http://127.0.0.1:1/one") == 0
    assert cursors() == {one}
    # A sink of an older version had its place in a file that all shared.
    place.save(tmp_path / "journal.webhook.cursor")
    assert start("http://127.0.0.1:1/two", "--since", "beginning") == 0  # else it would wait for ever
    [two] = cursors() - {one}
    assert Positions.load(two) == place
    held = Follower(tmp_path / "journal", cursor=two, exclusive=True)
    capsys.readouterr()
    assert start("http://127.0.0.1:1/two") == 1
    assert "another sink uses this cursor; give --cursor" in capsys.readouterr().err
    assert start("http://127.0.0.1:1/two", "--cursor", str(tmp_path / "own.cursor")) == 0
    held.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--endpoint", "tcp://127.0.0.1:99999"], "tcp://127.0.0.1:99999: it needs a port up to 65535"),
        (["--endpoint", "tcp://127.0.0.1"], "it needs a port up to 65535"),
        (["--endpoint", "tcp://127.0.0.1:²"], "it needs a port up to 65535"),
        (["--endpoint", "tcp://127.0.0.1:65535"], "there is no next port for the replay socket"),
        (["--replay", "tcp://127.0.0.1:99999"], "tcp://127.0.0.1:99999: it needs a port up to 65535"),
        (["--server-key", "x"], "needs --key and --server-key; give --key NAME.key as well"),
        (["--key", "x"], "needs --key and --server-key; give --server-key server.pub as well"),
        (["--since", "²h"], "how long ago"),
    ],
)
def test_wrong_addresses_and_keys_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["events", "tail"], ["watch"]):
        assert main([*command, *words]) in (1, 2)
        assert said in capsys.readouterr().err


def test_a_handoff_with_half_a_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["handoff", "--journal", str(tmp_path / "j"), "--key", "x"]) == 2
    assert "give --server-key server.pub as well" in capsys.readouterr().err


def test_a_handoff_that_would_hear_itself_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    itself = ["--endpoint", "tcp://localhost:5999", "--publish", "tcp://127.0.0.1:5999"]
    assert main(["handoff", "--journal", str(tmp_path / "j"), *itself]) == 2
    assert "would hear itself; give another port" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_a_publisher_has_ports_that_exist(tmp_path: Path) -> None:
    for number, address in enumerate(("tcp://127.0.0.1:99999", "tcp://127.0.0.1:-1")):
        journal = Journal(tmp_path / str(number))
        with pytest.raises(EventError, match="it needs a port up to 65535"):
            Publisher(journal, "tcp://127.0.0.1:0", address)
        journal.close()


@pytest.mark.parametrize("since", ["9" * 400 + "d", "99999999999999999999d", "1970-01-01", "0001-01-01"])
def test_a_time_long_ago_is_the_beginning(
    publisher: Publisher, tmp_path: Path, since: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.publish(known("gate", "Ada"))
    assert main(["events", "tail", *at(publisher), "--since", since, "--count", "1"]) == 0
    words = ["events", "export", "--journal", str(tmp_path / "journal"), "--out", "-", "--since", since]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a.csv.gz"])
def test_an_export_in_no_format_is_refused(
    publisher: Publisher, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.publish(known("gate", "Ada"))
    words = ["events", "export", "--journal", str(tmp_path / "journal"), "--out", str(tmp_path / name)]
    assert main(words) == 2
    assert "give .jsonl, .csv or .parquet" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
    assert main([*words, "--format", "jsonl"]) == 0


@pytest.mark.parametrize("out", ["-", "out.csv"])
def test_an_export_is_utf_8_whatever_the_locale(publisher: Publisher, tmp_path: Path, out: str) -> None:
    publisher.publish(known("gate", "Zoë"))
    environment = dict(os.environ, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    words = ["events", "export", "--journal", str(tmp_path / "journal"), "--out", out, "--format", "csv"]
    done = subprocess.run(
        [sys.executable, "-m", "gaitstream", *words], cwd=tmp_path, env=environment, capture_output=True,
        check=True, timeout=60,
    )  # fmt: skip
    data = done.stdout if out == "-" else (tmp_path / out).read_bytes()
    assert "Zoë" in data.decode()


@pytest.mark.parametrize(("command", "name"), [(["events", "tail"], "Zoë"), (["watch"], "Zo\\xeb")])
def test_names_are_printed_whatever_the_locale(publisher: Publisher, command: list[str], name: str) -> None:
    publisher.publish(known("gate", "Zoë"))
    environment = dict(os.environ, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    words = [*command, *at(publisher), "--since", "beginning", "--count", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "gaitstream", *words], env=environment, capture_output=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert name in done.stdout.decode()


@pytest.mark.parametrize("time_ns", [10**21, -(10**21), 253_402_300_799 * 10**9, -62_135_596_800 * 10**9])
def test_a_time_beyond_the_calendar_is_shown_as_its_end(time_ns: int) -> None:
    line = readable(CameraOffline(time_ns=time_ns, camera="gate", cause="error"))
    assert line.lstrip("0").startswith("9999-12-3" if time_ns > 0 else "1-01-0")


@pytest.mark.parametrize("name", ["a\nb", "  a", "a  b", "a\u2028b", "a "])
def test_names_in_the_list_of_keys_stay_on_their_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["--folder", str(tmp_path)]
    assert main(["keys", "new", "wall", *keys]) == 0
    assert main(["keys", "allow", str(tmp_path / "wall.pub"), "--name", name, *keys]) == 1
    assert "give words with one space between them" in capsys.readouterr().err
    assert not (tmp_path / "allowed").exists()
    assert main(["keys", "new", name, *keys]) == 1
    assert "cannot be the name of a key" in capsys.readouterr().err
    assert main(["keys", "new", "a\0b", *keys]) == 1
    assert main(["keys", "allow", str(tmp_path / "wall.pub"), "--name", "wall display", *keys]) == 0
    assert main(["keys", "revoke", "wall display", *keys]) == 0

"""Downloads from servers that break off, lie, forget and refuse."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import ZooError
from gaitstream.zoo import download as module
from gaitstream.zoo.download import DRIPS, TRIES, Download
from tests.console.certificate import make_certificate
from tests.zoo.misbehaving import Site, serve

CONTENT = random.Random(1).randbytes(700_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(CONTENT) as site:
        yield site


def fetch(site: Site, part: Path, size: int | None = len(CONTENT)) -> list[float]:
    """The pauses it made."""
    pauses: list[float] = []
    Download(url=site.url, part=part, size=size, pause=pauses.append).run()
    return pauses


def test_a_download_goes_on_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [300_000, 100, 0]
    assert len(fetch(site, tmp_path / "part")) == 3
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert site.asked == ["", "bytes=300000-", "bytes=300100-", "bytes=300100-"]


def test_another_run_goes_on_with_what_the_first_left(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [400_000] + [0] * TRIES
    with pytest.raises(ZooError, match=r"broke off 5 times .* the same command goes on from there"):
        fetch(site, tmp_path / "part")
    assert (tmp_path / "part").stat().st_size == 400_000
    fetch(site, tmp_path / "part")
    assert site.asked[-1] == "bytes=400000-"
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_server_that_drips_is_given_up(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [1] * 100
    with pytest.raises(ZooError, match="broke off 50 times within 16 KiB"):
        fetch(site, tmp_path / "part")
    assert (tmp_path / "part").stat().st_size == DRIPS
    site.breaks_after = [4_000] * 150
    fetch(site, tmp_path / "part")  # slow, and coming
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_complete_part_asks_nobody(site: Site, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    fetch(site, tmp_path / "part")
    assert site.asked == []


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.ignores_range = True
    site.breaks_after = [300_000]
    fetch(site, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_server_that_goes_on_elsewhere_is_not_believed(site: Site, tmp_path: Path) -> None:
    site.shifts_range = 10
    site.breaks_after = [300_000]
    fetch(site, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert site.asked[-1] == ""


def test_a_file_that_changes_meanwhile_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    site.etag, site.breaks_after = '"one"', [300_000] + [0] * TRIES
    with pytest.raises(ZooError, match="broke off"):
        fetch(site, tmp_path / "part")
    site.etag, site.content = '"two"', CONTENT[::-1]
    fetch(site, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("announced", [10, len(CONTENT) - 1, len(CONTENT) + 1, 10**12])
def test_a_length_that_is_not_the_expected_one_is_refused(announced: int, site: Site, tmp_path: Path) -> None:
    site.announces = announced
    with pytest.raises(ZooError, match=rf"has {announced} bytes where 700000 are expected"):
        fetch(site, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_a_length_that_is_more_than_comes_is_a_break(site: Site, tmp_path: Path) -> None:
    site.announces = len(CONTENT) + 5
    with pytest.raises(ZooError, match="broke off"):
        fetch(site, tmp_path / "part", size=None)


def test_more_than_was_to_come_is_refused(site: Site, tmp_path: Path) -> None:
    site.chunked, site.content = True, CONTENT + b"more"
    with pytest.raises(ZooError, match="sends more than 700000 bytes"):
        fetch(site, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_without_any_length_the_end_is_the_end_of_the_answer(site: Site, tmp_path: Path) -> None:
    site.chunked = True
    fetch(site, tmp_path / "part", size=None)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT + b"rubbish")
    fetch(site, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    (tmp_path / "part").write_bytes(CONTENT + b"rubbish")
    fetch(site, tmp_path / "part", size=None)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert fetch(site, tmp_path / "part") == [1.0, 2.0]
    site.statuses = [404]
    with pytest.raises(ZooError, match=r"answers 404 .* another with --url, or the file with --from"):
        fetch(site, tmp_path / "other")
    assert site.statuses == []


@pytest.mark.parametrize("address", ["http://[::no/", "http://127.0.0.1:1/\u00fc"])
def test_a_redirection_to_no_address_is_final(address: str, site: Site, tmp_path: Path) -> None:
    site.leads_to = address
    with pytest.raises(ZooError, match=r"model\.onnx (leads to an address that is none|broke off)"):
        fetch(site, tmp_path / "part")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_empty_file_is_none(chunked: bool, site: Site, tmp_path: Path) -> None:
    site.content, site.chunked = b"", chunked
    with pytest.raises(ZooError, match="sends an empty file"):
        fetch(site, tmp_path / "part", None)
    assert list(tmp_path.iterdir()) == []


def test_a_length_without_end_is_none(site: Site, tmp_path: Path) -> None:
    site.announces = "9" * 5000
    fetch(site, tmp_path / "part", None)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_file_that_comes_packed_is_refused(site: Site, tmp_path: Path) -> None:
    site.packed = "gzip"
    with pytest.raises(ZooError, match=r"sends the file packed \(gzip\)"):
        fetch(site, tmp_path / "part", None)
    assert list(tmp_path.iterdir()) == []


def test_another_address_does_not_go_on_with_what_the_first_sent(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [400_000] + [0] * TRIES
    with pytest.raises(ZooError, match="broke off"):
        fetch(site, tmp_path / "part", None)
    with serve(CONTENT[::-1]) as other:
        fetch(other, tmp_path / "part", None)
        assert other.asked == [""]
    assert (tmp_path / "part").read_bytes() == CONTENT[::-1]


def test_bytes_that_come_slowly_are_seen_at_once(site: Site, tmp_path: Path) -> None:
    site.holds_after = 1000
    seen: list[int] = []

    def report(done: int, _total: int | None) -> None:
        seen.append(done)
        site.goes_on.set()

    Download(url=site.url, part=tmp_path / "part", report=report).run()
    assert seen[0] <= 1000
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_what_follows_a_question_mark_is_not_repeated(site: Site, tmp_path: Path) -> None:
    site.statuses = [404]
    with pytest.raises(ZooError) as error:
        Download(url=f"{site.url}?key=secret", part=tmp_path / "part").run()
    assert "secret" not in str(error.value)


def test_nobody_there(tmp_path: Path) -> None:
    with serve(CONTENT) as site:
        pass
    with pytest.raises(ZooError, match=r"refused.*: nothing came\. See whether .* or the file with --from"):
        fetch(site, tmp_path / "part")


def test_a_certificate_that_is_not_trusted_is_final(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    with serve(CONTENT, context) as site:
        with pytest.raises(ZooError, match=r"a certificate that is not trusted here .* SSL_CERT_FILE"):
            fetch(site, tmp_path / "part")
        assert site.asked == []


@pytest.mark.parametrize(
    "status", [b"HTTP/1.1 404 \x1b[2J\x1b]0;title\x07Gone\r\n\r\n", b"SSH-2.0 \x1b[2J\x00\r\n"]
)
def test_what_a_server_says_is_shown_in_one_line_without_control_characters(
    status: bytes, tmp_path: Path
) -> None:
    def answer(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed by the test
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(status)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/model.onnx"
        try:
            with pytest.raises(ZooError) as error:
                Download(url=url, part=tmp_path / "part", pause=lambda _: None).run()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert str(error.value).isprintable()
    assert "[2J" in str(error.value)


def test_a_full_disk_is_said_before_anything_is_taken(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ZooError, match=r"no room for 1 MB.*GAITSTREAM_CACHE"):
        fetch(site, tmp_path / "part")
    assert not (tmp_path / "part").exists()


@settings(max_examples=15, deadline=None)
@given(breaks=st.lists(st.integers(1, 400_000), max_size=6), etag=st.sampled_from(["", '"v"', 'W/"v"']))
def test_wherever_it_breaks_the_file_is_whole(
    breaks: list[int], etag: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    part = tmp_path_factory.mktemp("part") / "part"
    seen: list[int] = []
    with serve(CONTENT) as site:
        site.breaks_after, site.etag = list(breaks), etag
        Download(
            url=site.url, part=part, size=len(CONTENT), report=lambda done, _: seen.append(done),
            pause=lambda _: None,
        ).run()  # fmt: skip
    assert part.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)

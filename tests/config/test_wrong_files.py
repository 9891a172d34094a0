"""Any file is a configuration or a ConfigError with file and line; a wrong one changes nothing."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitstream.config import watching
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes, ConfigWatcher
from gaitstream.errors import ConfigError

GOOD = """\
x-slow: &slow {fps: 2}
cameras:
  - {<<: *slow, id: lobby, url: 'rtsp://viewer:secretpass@10.0.0.5/stream1'}
  - id: archive
    url: monday.mp4
    start_time: 2026-03-02T08:00:00Z
    regions: [[[0, 0], [9, 0], [9, 9]]]
models: {detector: demo}
sources: {stall_s: 5}
gallery: {path: people.gallery, threshold: 1.1}
"""

WRONG = {
    "a month that is none": ("2026-03-02T08:00:00Z", "2026-13-45", 6),
    "a control character": ("monday", "mon\x07day", 5),
    "an escaped control character": ("monday.mp4", r'"mon\aday"', 5),
    "half a character": ("monday.mp4", r'"\ud800.mp4"', 5),
    "no character at all": ("monday.mp4", r'"\U0FFFFFFF"', 1),
    "a tag of somebody's own": ("monday.mp4", "!include other.yaml", 5),
    "a tag of Python's": ("monday.mp4", "!!python/object/apply:os.system [ls]", 5),
    "a section with a tag": ("{detector: demo}", "!!set {detector}", 8),
    "a number that is none": ("stall_s: 5", "stall_s: !!int abc", 9),
    "a number without end": ("stall_s: 5", "stall_s: .inf", 9),
    "a number too large to wait for": ("stall_s: 5", "stall_s: 1e300", 9),
    "no number": ("threshold: 1.1", "threshold: .nan", 10),
    "a truth that is none": ("stall_s: 5", "stall_s: !!bool perhaps", 9),
    "a time that is none": ("stall_s: 5", "stall_s: !!timestamp soon", 9),
    "a number of 5,000 digits": ("stall_s: 5", f"stall_s: {'9' * 5000}", 9),
    "a merge of a number": ("<<: *slow", "<<: 3", 3),
    "a merge of numbers": ("<<: *slow", "<<: [3, *slow]", 3),
    "a list that holds itself": ("[[[0, 0], [9, 0], [9, 9]]]", "&r [*r]", 7),
    "a section that holds itself": ("{stall_s: 5}", "&s {stall_s: *s}", 9),
    "a section that merges itself": ("{stall_s: 5}", "&s {<<: *s}", 9),
    "a list as a key": ("stall_s: 5", "[stall, s]: 5", 9),
    "a section as a key": ("stall_s: 5", "? {stall: s}\n  : 5", 9),
    "an alias of nothing": ("*slow", "*fast", 3),
    "a path that is too long": ("people.gallery", "p" * 5000, 10),
    "a name that is too long": ("monday.mp4", "m" * 300, 5),
    "a home of nobody": ("people.gallery", "~nosuchuser/people.gallery", 10),
    "a model in the home of nobody": ("detector: demo", "detector: ~nosuchuser/d.onnx", 8),
    "brackets in brackets": ("[[[0, 0], [9, 0], [9, 9]]]", "[" * 3000 + "]" * 3000, 1),
    "a URL in two pieces": ("secretpass", "secret/pass", 3),
}


def write(folder: Path, data: str | bytes, name: str = "cams.yaml") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_one_error_with_its_line_and_changes_nothing(tmp_path: Path, what: str) -> None:
    old, new, line = WRONG[what]
    path = write(tmp_path, GOOD)
    watcher = ConfigWatcher(path, load_config(path))
    before = watcher.config
    os.replace(write(tmp_path, GOOD.replace(old, new, 1), "new"), path)
    with pytest.raises(ConfigError) as caught:
        polled(watcher)
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"{path}:{line}: "), first
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert watcher.config is before
    assert watcher.poll() is None, "the same wrong file is told once"
    os.replace(write(tmp_path, GOOD.replace("fps: 2", "fps: 3"), "new"), path)
    assert polled(watcher).adjusted == ("lobby",)


def polled(watcher: ConfigWatcher, timeout_s: float = 20.0) -> Changes:
    """What changed, as soon as the file is read."""
    deadline = time.monotonic() + timeout_s
    while (news := watcher.poll()) is None:
        assert time.monotonic() < deadline
    return news[1]


def test_a_file_that_takes_long_to_read_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's log of some megabytes, moved over it."""
    path = write(tmp_path, GOOD)
    watcher = ConfigWatcher(path, load_config(path))
    goes_on = threading.Event()

    def slow(there: Path) -> Config:
        goes_on.wait(20)
        return load_config(there)

    monkeypatch.setattr(watching, "load_config", slow)
    monkeypatch.setattr(watching, "PATIENCE_S", 0.05)
    os.replace(write(tmp_path, GOOD.replace("fps: 2", "fpss: 2"), "new"), path)
    begun_s = time.monotonic()
    assert [watcher.poll() for _ in range(5)] == [None] * 5
    assert time.monotonic() - begun_s < 10
    goes_on.set()
    with pytest.raises(ConfigError, match="did you mean 'fps'"):
        polled(watcher)
    assert watcher.poll() is None
    os.replace(write(tmp_path, GOOD.replace("fps: 2", "fps: 3"), "new"), path)
    assert polled(watcher).adjusted == ("lobby",)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe that nobody writes to never comes to an end."""
    path = write(tmp_path, GOOD)
    watcher = ConfigWatcher(path, load_config(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no such file any more; the running configuration stays"):
        watcher.poll()
    assert watcher.poll() is None
    os.replace(write(tmp_path, GOOD.replace("fps: 2", "fps: 3"), "new"), path)
    assert polled(watcher).adjusted == ("lobby",)


def test_aliases_that_stand_for_billions_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="too much is nested or repeated by aliases"):
        load_config(write(tmp_path, "\n".join(lines) + "\n" + GOOD))


def test_a_file_that_is_no_text_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cams\.yaml:2: cannot be read: not UTF-8"):
        load_config(write(tmp_path, b"cameras:\n- id: \xff\xfe"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_bom_and_windows_lines_are_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert [camera.id for camera in load_config(path).cameras] == ["lobby", "archive"]


SNIPPETS = [
    "2026-13-45", "\x07", "!foo", "!!int abc", "<<: 3", "&r [*r]", "[a]: b", "? {a: b}\n: c", "~nosuchuser",
    "*slow", "&a", "<<: *slow", "${", "${HOME}", "$$", "!!binary x", "!!omap [a: 1]", "%YAML 9.9\n---\n",
    "---\n", "...\n", "'", '"', '"\\0"', '"\\ud800"', "\t", "\u2028", "|\n  x", ">-\n", "1e999", "0o7",
    "0x", "1_0",
    "1:60", ".inf", "-.inf", ".nan", "null", "~", "yes", "[", "]", "{", "}", ",", ": ", "- ", "#", "\n",
    " ", "@", "`",
    "fps: -1", "id: ''", "url: []", "url: {}", "url: 3", "thresholds: 3", "thresholds: []", "regions: 7",
    "cameras: {}", "models: []", "x" * 5000, "é", "😀", "\x85", "start_time: 1e400", "start_time: -1",
]  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 12),
            st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=6)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_written_into_a_file_is_right_or_a_config_error(
    tmp_path: Path, edits: list[tuple[int, int, str]]
) -> None:
    text = GOOD
    for at, cut, snippet in edits:
        text = text[:at] + snippet + text[at + cut :]
    judge(write(tmp_path, text.encode("utf-8", "surrogatepass")))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_bytes_are_no_configuration(tmp_path: Path, data: bytes) -> None:
    judge(write(tmp_path, data))


def judge(path: Path) -> None:
    """Load a file: a ConfigError must name file and line, and nothing else may be raised."""
    try:
        load_config(path, {"HOME": "/home/nobody"})
    except ConfigError as caught:
        error = str(caught)
    else:
        return
    assert error.startswith(f"{path}:")
    for line in error.split(f"{path}:")[1:]:
        assert re.match(r"\d+: ", line), error


@pytest.mark.parametrize("days", ["0", "-5", ".nan", ".inf", "1e300", "36501"])
@pytest.mark.parametrize(
    "key",
    [
        "events: {journal_max_days: N}", "saving: {keep_days: N}", "evidence: {keep_days: N}",
        *(f"gallery: {{path: g, retention: {{{what}_days: N}}}}"
          for what in ("person", "picture", "visitor", "sighting")),
    ],
)  # fmt: skip
def test_days_are_finite_and_a_century_at_most(tmp_path: Path, key: str, days: str) -> None:
    path = tmp_path / "cams.yaml"
    head = "cameras: [{id: a, url: 'synth://plaza'}]\nmodels: {detector: demo}\n"
    path.write_text(f"{head}{key.replace('N', days)}\n")
    with pytest.raises(ConfigError, match=r"36500|greater than 0|above 0|finite"):
        load_config(path)
    path.write_text(f"{head}{key.replace('N', '36500')}\n")
    load_config(path)

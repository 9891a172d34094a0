"""cams.yaml: what is read, what is refused and how the refusal reads, what changes while running."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.config.descriptions import describe_sections
from gaitstream.config.masking import mask
from gaitstream.config.reading import load_config
from gaitstream.config.reference import reference
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.watching import ConfigWatcher, compare, follow
from gaitstream.errors import ConfigError

GOOD = """\
cameras:
  - id: lobby
    url: rtsp://viewer:${RTSP_PASSWORD}@10.0.0.5/stream1
    fps: 12.5
    thresholds: {distance: 0.9, min_height_px: 80}
  - {id: archive, url: monday.mp4, start_time: 2026-03-02T08:00:00Z, enabled: false}
models: {detector: demo}
gallery: {path: people.gallery, threshold: 1.1, margin: 0.1}
"""
SECRET = {"RTSP_PASSWORD": "hunter2hunter2"}


def write(folder: Path, text: str, name: str = "cams.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refuse(folder: Path, text: str) -> list[str]:
    """The lines of the error for a file, without the folder's name."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, SECRET)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_file_is_read_with_paths_beside_it_and_camera_values_in_place(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD), SECRET)
    lobby, archive = config.cameras
    assert lobby.url.reveal() == "rtsp://viewer:hunter2hunter2@10.0.0.5/stream1"
    assert archive.url.reveal() == str(tmp_path / "monday.mp4")
    assert config.gallery.path == tmp_path / "people.gallery"
    assert config.gallery_for(lobby).threshold == 0.9
    assert config.gallery_for(archive).threshold == 1.1
    assert config.quality_for(lobby).min_height_px == 80
    assert config.quality_for(archive) == config.quality
    assert archive.start_time is not None
    assert archive.start_time.isoformat() == "2026-03-02T08:00:00+00:00"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("fps: 12.5", "fsp: 12.5"), "cams.yaml:4: cameras[0].fsp: unknown key; did you mean 'fps'?"),
        (
            ("margin: 0.1", "xyzzy: 0.1"),
            "cams.yaml:8: gallery.xyzzy: unknown key; allowed: path, url, key, shards, retention,",
        ),
        (("models:", "modles:"), "cams.yaml:7: modles: unknown key; did you mean 'models'?"),
        (
            ("distance: 0.9", "distance: -1"),
            "cams.yaml:5: cameras[0].thresholds.distance: '-1': input should be",
        ),
        (("fps: 12.5", "fps: fast"), "cams.yaml:4: cameras[0].fps: 'fast': input should be a valid number"),
        (
            ("id: archive", "id: lobby"),
            "cams.yaml:6: cameras[1].id: 'lobby' is the id of cameras[0] already;",
        ),
        (("id: lobby", "id: 'the lobby'"), "cams.yaml:2: cameras[0].id: 'the lobby': string should match"),
        (("    url: rtsp", "    #"), "cams.yaml:2: cameras[0].url: is missing"),
        (
            ("RTSP_PASSWORD", "NOT_SET"),
            "cams.yaml:3: the environment variable NOT_SET is not set; set it, or",
        ),
        (("${RTSP", "${-"), "cams.yaml:3: '${' without a variable's name;"),
        (("detector: demo", "detector: ./no.onnx"), "cams.yaml:7: models.detector.model: "),
        (("    fps: 12.5", "    fps: 12.5\n    fps: 3"), "cams.yaml:5: key 'fps' is on line 4 already;"),
        (("cameras:", "cameras: ["), "cams.yaml:2: not YAML: expected the node content"),
        (
            ("fps: 12.5", "region_size: [640, 480]\n    regions: [[[0, 0], [640, 0], [700, 480]]]"),
            "cams.yaml:5: cameras[0].regions[0]: point [700, 480] lies outside the frame of 640 x 480;",
        ),
        (
            ("fps: 12.5", "regions: [[[0, 0], [9, 9]]]"),
            "cams.yaml:4: cameras[0].regions[0]: list should have at",
        ),
        (
            ("fps: 12.5", "regions: [[[9, 9], [9, 9], [9, 9]]]"),
            "cams.yaml:4: cameras[0].regions[0]: its points lie on one line: nothing is inside;",
        ),
        (
            ("fps: 12.5", "regions: [[[1, 1], [3.3, 3.3], [9, 9], [2, 2]]]"),
            "cams.yaml:4: cameras[0].regions[0]: its points lie on one line: nothing is inside;",
        ),
        (
            ("models: {", "events: {endpoint: 'tcp://127.0.0.1:65535'}\nmodels: {"),
            "cams.yaml:7: events.endpoint: tcp://127.0.0.1:65535 has no next port for replay:",
        ),
        (
            ("models: {", "events: {endpoint: 'tcp://127.0.0.1:99999'}\nmodels: {"),
            "cams.yaml:7: events.endpoint: tcp://127.0.0.1:99999: give a port from 1 to 65535,",
        ),
        (
            ("models: {", "events: {replay: 'tcp://127.0.0.1'}\nmodels: {"),
            "cams.yaml:7: events.replay: tcp://127.0.0.1: give a port from 1 to 65535,",
        ),
        (
            ("models: {", "events: {endpoint: 'tcp://*:70', replay: 'tcp://127.0.0.1:70'}\nmodels: {"),
            "cams.yaml:7: events.replay: tcp://127.0.0.1:70 is where events are published already;",
        ),
        (
            ("models: {", "metrics: {port: 5556}\nmodels: {"),
            "cams.yaml:7: metrics.port: 5556 is the port of events.endpoint, already; give another",
        ),
        (
            ("models: {", "metrics: {port: 5557, host: 0.0.0.0}\nmodels: {"),
            "cams.yaml:7: metrics.port: 5557 is the port of events.replay, the next port",
        ),
        (
            ("models: {", "tracklets: {stride: 7}\nmodels: {"),
            "cams.yaml:7: tracklets.stride: 7 does not divide the length 30; allowed: 1, 2, 3, 5, 6,",
        ),
        (
            ("models: {", "sources: {backoff_min_s: 9}\nmodels: {"),
            "cams.yaml:7: sources.backoff_max_s: 3 is less than backoff_min_s 9",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    lines = refuse(tmp_path, GOOD.replace(*change, 1))
    assert any(line.startswith(problem) for line in lines), lines
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    "sections",
    [
        "events: {endpoint: 'tcp://127.0.0.1:65535', replay: 'tcp://127.0.0.1:5556'}",
        "events: {endpoint: 'tcp://127.0.0.1:0', replay: 'tcp://127.0.0.1:0'}",
        "events: {endpoint: 'tcp://*:*'}",
        "events: {endpoint: 'ipc:///tmp/a'}",
        "events: {endpoint: 'tcp://10.0.0.1:5556'}\nmetrics: {port: 5556}",
        "metrics: {port: 5558}",
    ],
)
def test_addresses_that_can_be_listened_at_are_right(sections: str, tmp_path: Path) -> None:
    load_config(write(tmp_path, GOOD + sections + "\n"), SECRET)


def test_a_region_that_crosses_itself_has_an_inside(tmp_path: Path) -> None:
    crossed = GOOD.replace("fps: 12.5", "regions: [[[0, 0], [9, 9], [9, 0], [0, 9]]]")
    load_config(write(tmp_path, crossed), SECRET)


def test_every_problem_is_listed_in_the_order_of_the_lines(tmp_path: Path) -> None:
    lines = refuse(
        tmp_path, GOOD.replace("fps", "fsp").replace("margin: 0.1", "margin: -1").replace("demo", "")
    )
    assert [line.split(":")[1] for line in lines] == ["4", "7", "8"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "expected keys"), ("[1, 2]", "expected keys"), ("models: {}", "cameras: is missing")],
)
def test_an_empty_or_alien_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refuse(tmp_path, text)[0]


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nope.yaml")


def test_variables_have_defaults_and_dollars_are_escaped(tmp_path: Path) -> None:
    text = "cameras: [{id: a, url: '${HOST:-rtsp://h}/pa$$word', fps: '${FPS}'}]"
    camera = load_config(write(tmp_path, text), {"FPS": "7"}).cameras[0]
    assert camera.url.reveal() == "rtsp://h/pa$word"
    assert camera.fps == 7


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    cameras = "- {<<: *slow, id: a, url: a.mp4}\n- {<<: *slow, id: b, url: b.mp4, fps: 3}\n"
    text = "x-slow: &slow {fps: 2}\ncameras:\n" + cameras
    assert [camera.fps for camera in load_config(write(tmp_path, text)).cameras] == [2, 3]


def test_credentials_show_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = load_config(write(tmp_path, GOOD), SECRET)
    logging.getLogger("test").info("config %s %r", config, config.cameras[0].url)
    shown = caplog.text + str(config) + repr(config) + config.model_dump_json() + str(config.model_dump())
    assert "hunter2" not in shown
    assert "viewer" not in shown
    assert "rtsp://***@10.0.0.5/stream1" in shown
    copy = pickle.loads(pickle.dumps(config))
    assert copy.cameras[0].url.reveal() == config.cameras[0].url.reveal()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://u:p@h:554/x", "rtsp://***@h:554/x"),
        ("open 'rtsps://u:p%40ss@h/x': 401", "open 'rtsps://***@h/x': 401"),
        ("http://h/x?user=a&password=b&ch=1", "http://h/x?user=***&password=***&ch=1"),
        ("rtsp://u:p@ss@h/x", "rtsp://***@h/x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_urls_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_foreign_text_is_scrubbed_of_the_password_in_any_form() -> None:
    url = SecretUrl("rtsp://viewer:p%40ssword@h/x?token=abcdef")
    text = url.scrub(
        "user viewer:p%40ssword, pass p@ssword, abcdef, rtsp://viewer:p%40ssword@h/x?token=abcdef"
    )
    assert "ssword" not in text
    assert "abcdef" not in text


def changed(old: str, new: str, folder: Path) -> tuple[tuple[str, ...], ...]:
    before = load_config(write(folder, old), SECRET)
    after = load_config(write(folder, new), SECRET)
    changes = compare(before, after)
    return changes.added, changes.removed, changes.reopened, changes.adjusted, changes.restart_needed


@pytest.mark.parametrize(
    ("change", "added", "removed", "reopened", "adjusted", "restart"),
    [
        (("", ""), (), (), (), (), ()),
        ((", enabled: false", ""), ("archive",), (), (), (), ()),
        (("id: lobby", "id: hall"), ("hall",), ("lobby",), (), (), ()),
        (("10.0.0.5", "10.0.0.6"), (), (), ("lobby",), (), ()),
        (("fps: 12.5", "fps: 5"), (), (), (), ("lobby",), ()),
        (("distance: 0.9", "distance: 0.8"), (), (), (), ("lobby",), ()),
        (("margin: 0.1", "margin: 0.2"), (), (), (), ("lobby",), ()),
        (("margin: 0.1", "margin: 0.1, threshold_gain: 0.1"), (), (), (), ("lobby",), ()),
        (("detector: demo", "detector: {model: demo, score: 0.5}"), (), (), (), (), ("models",)),
        (("people.gallery", "others.gallery"), (), (), (), (), ("gallery.path",)),
        (("margin: 0.1", "margin: 0.1, visitors: {enabled: true}"), (), (), (), (), ("gallery.visitors",)),
        (("margin: 0.1", "margin: 0.1, shards: {count: 2}"), (), (), (), (), ("gallery.shards",)),
    ],
)
def test_changes_touch_only_their_cameras(
    tmp_path: Path,
    change: tuple[str, str],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    reopened: tuple[str, ...],
    adjusted: tuple[str, ...],
    restart: tuple[str, ...],
) -> None:
    assert changed(GOOD, GOOD.replace(*change), tmp_path) == (added, removed, reopened, adjusted, restart)


@pytest.mark.parametrize(
    ("own", "algorithm", "problem"),
    [
        (
            "fps: 2, detect_every: 5",
            "bytetrack",
            "detect_every: people are looked for every 2.5 s, and ",
        ),
        ("fps: 0.5", "sort", "fps: people are looked for every 2 s, and sort ends tracks after"),
        ("fps: 1", "bytetrack", ""),
        ("fps: 0.1, detect_every: 30", "appearance", ""),
        (
            "max_height: 67",
            "sort",
            "max_height: nobody in a picture 67 pixels high has min_height_px, 64, ",
        ),
        ("max_height: 68", "sort", ""),
        ("max_height: 67, thresholds: {min_height_px: 60}", "sort", ""),
    ],
)
def test_settings_of_which_nobody_would_come_are_refused(
    tmp_path: Path, own: str, algorithm: str, problem: str
) -> None:
    text = (
        f"tracking: {{algorithm: {algorithm}}}\nmodels: {{gaitheat: demo}}\n"
        f"cameras:\n- {{id: gate, url: synth://plaza, {own}}}\n"
    )
    if not problem:
        load_config(write(tmp_path, text))
        return
    (line,) = refuse(tmp_path, text)
    assert line.startswith(f"cams.yaml:4: cameras[0].{problem}")


ANOTHER: dict[str, dict[str, object]] = {
    "gallery": {"threshold": 0.7, "threshold_gain": 0.2},
    "tracklets": {"settled_every": 2, "max_gap_s": 0.5},
    "runtime": {"latency_ms": 200, "deadline_ms": 20},
    "events": {"stats_every_s": 3, "wire": "msgpack"},
    "models": {"detector": {"model": "demo", "score": 0.5}},
    "sources": {"queue": 8},
    "tracking": {"lost_s": 2},
}


@pytest.mark.parametrize("section", ANOTHER)
def test_what_is_reported_to_wait_for_a_restart_does_and_all_else_is_taken_over(section: str) -> None:
    camera = {"id": "gate", "url": "synth://plaza"}
    before = Config.model_validate({"cameras": [camera]})
    after = Config.model_validate({"cameras": [camera], section: ANOTHER[section]})
    changes, runs = compare(before, after), follow(before, after)
    waits = {name.partition(".")[2] for name in changes.restart_needed}
    for key in ANOTHER[section]:
        here = key not in waits and section not in changes.restart_needed
        of = after if here else before
        assert getattr(getattr(runs, section), key) == getattr(getattr(of, section), key)
        assert (f"{section}.{key}" in changes.settings) or section == "gallery" or not here
    again = compare(runs, after)
    assert again.restart_needed == changes.restart_needed
    assert not again.settings
    assert not again.adjusted


@pytest.mark.parametrize("section", Config.model_fields)
def test_no_key_is_changed_without_a_word(section: str) -> None:
    """Whatever key of whatever section differs, it is taken over or reported."""
    before = Config.model_validate({"cameras": [{"id": "gate", "url": "synth://plaza"}]})
    changed = before.cameras[0] if section == "cameras" else getattr(before, section)
    for key in type(changed).model_fields.keys() - {"id", "enabled"}:
        other = changed.model_copy(update={key: object()})
        after = before.model_copy(update={section: [other] if section == "cameras" else other})
        assert compare(before, after), key


def test_what_runs_never_leaves_gaps_in_which_no_window_closes(tmp_path: Path) -> None:
    """The file is right, but its `max_gap_s` takes effect at the next start only."""
    path = tmp_path / "cams.yaml"
    camera = "cameras: [{id: a, url: 'synth://plaza', fps: 5}]\n"
    path.write_text(camera)
    watcher = ConfigWatcher(path, load_config(path))
    path.write_text(camera + "tracklets: {every: 10, max_gap_s: 3}\n")
    with pytest.raises(ConfigError, match=r"cams\.yaml: tracklets\.every: every 10th .*next start only"):
        watcher.poll()
    assert watcher.poll() is None, "said twice"
    assert watcher.config.tracklets.every == 1
    path.write_text(camera + "tracklets: {every: 4, max_gap_s: 3}\n")
    changed = watcher.poll()
    assert changed is not None
    assert changed[0].tracklets.every == 4


def test_the_watcher_sees_new_content_and_keeps_the_old_when_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSP_PASSWORD", SECRET["RTSP_PASSWORD"])
    path = write(tmp_path, GOOD)
    watcher = ConfigWatcher(path, load_config(path))
    assert watcher.poll() is None

    def replace(text: str) -> None:
        os.replace(write(tmp_path, text, "new.yaml"), path)

    replace(GOOD.replace("fps: 12.5", "fsp: 1"))
    with pytest.raises(ConfigError, match="did you mean 'fps'"):
        watcher.poll()
    assert watcher.poll() is None
    assert watcher.config.cameras[0].fps == 12.5
    replace(GOOD.replace("fps: 12.5", "fps: 5"))
    news = watcher.poll()
    assert news is not None
    assert news[1].adjusted == ("lobby",)
    assert watcher.config.cameras[0].fps == 5
    path.unlink()
    with pytest.raises(ConfigError, match="the running configuration stays"):
        watcher.poll()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GOOD.replace("${RTSP_PASSWORD}", "x"))
    assert main(["config", "check", str(path)]) == 0
    assert "2 cameras, 1 enabled" in capsys.readouterr().out
    assert main(["config", "check", str(write(tmp_path, "cameras: []", "bad.yaml"))]) == 2
    assert "bad.yaml:1: cameras:" in capsys.readouterr().err
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Camera"]["properties"]["url"]["type"] == "string"


def test_what_is_named_and_not_there_is_said_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "models:\n  gaitheat: {model: dmeo}\n  biggait: big\n  detector: dome\n"
        "cameras:\n- {id: a, url: nope.mp4}\n- {id: b, url: off.mp4, enabled: false}\n"
        "- {id: c, url: 'gopher://u:secret1@h'}\n- {id: d, url: 'synth://plazza'}\n"
        "- {id: e, url: 'rtsp://nobody.invalid/1'}\ngallery: {path: .}\n"
    )
    path = write(tmp_path, text)
    assert main(["config", "check", str(path)]) == 2
    lines = capsys.readouterr().err.removeprefix("gaitstream: ").replace(f"{tmp_path}/", "").splitlines()
    expected = [
        (2, "models.gaitheat.model: no packaged gaitheat is called 'dmeo' (did you mean 'demo'?); there is"),
        (3, "models.biggait.model: no biggait weights ship with gaitstream, so 'big' names none: export"),
        (4, "models.detector.model: no packaged detector is called 'dome'"),
        (6, "cameras[0].url: nope.mp4 does not exist; give a file"),
        (8, "cameras[2].url: camera c: scheme 'gopher' is unknown; allowed: synth, rtsp"),
        (9, "cameras[3].url: "),
        (11, "gallery.path: "),
    ]
    assert len(lines) == len(expected)
    for line, (number, start) in zip(lines, expected, strict=True):
        assert line.startswith(f"cams.yaml:{number}: {start}")
    assert "plazza" in lines[5]
    path.write_text("cameras: [{id: a, url: cams.yaml}]\ngallery: {path: people.gallery}\n")
    assert main(["config", "check", str(path)]) == 0
    assert "people.gallery does not exist yet: nobody is known" in capsys.readouterr().out


def test_opening_every_camera_says_what_each_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    video = shared / "media" / "walkers_gallery.mp4"
    text = (
        f"cameras:\n- {{id: a, url: {video}}}\n- {{id: b, url: nope.mp4}}\n"
        f"- {{id: c, url: {video}, regions: [[[0, 0], [479, 0], [900, 853]]]}}\n"
        f"- {{id: d, url: {video}, max_height: 427, regions: [[[0, 0], [479, 0], [479, 853]]]}}\n"
    )
    assert main(["config", "check", "--open", str(write(tmp_path, text))]) == 1
    out = capsys.readouterr().out
    assert "a: 480 x 854" in out
    assert "nope.mp4: no such file" in out
    assert "camera c: regions[0]: point [900, 853] lies outside the frame of 480 x 854" in out
    assert "camera d: regions[0]: point [479, 0] lies outside the frame of 240 x 427" in out


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == reference(), "run: gaitstream config reference > docs/configuration.md"


def test_every_key_is_described() -> None:
    describe_sections()
    schema = Config.model_json_schema()
    sections = {"top": schema, **schema["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if not field.get("description")
    ]
    assert missing == []


@pytest.mark.parametrize("text", ["12:11", "'12:11'", "40:33", "1.0909:1", "1:1"])
def test_the_shape_of_a_pixel_is_two_numbers_with_a_colon(text: str, tmp_path: Path) -> None:
    """YAML would take 12:11 for 731, a number in base 60."""
    file = write(tmp_path, f"cameras: [{{id: a, url: x.mp4, pixel_aspect: {text}}}]\n")
    assert load_config(file).cameras[0].pixel_aspect == text.strip("'")


@pytest.mark.parametrize(
    "text", ["731", "12/11", "12:0", "0:1", "-4:3", "1:9", "nan:1", "a:b", "'16:9:1'", "wide", "''"]
)
def test_what_is_no_shape_of_a_pixel_is_refused(text: str, tmp_path: Path) -> None:
    [line] = refuse(tmp_path, f"cameras: [{{id: a, url: x.mp4, pixel_aspect: {text}}}]\n")
    assert "give width to height, as 12:11" in line
    assert line.startswith("cams.yaml:1: cameras[0].pixel_aspect: ")

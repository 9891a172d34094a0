"""What `gaitstream deepstream render` writes, and what it refuses."""

from __future__ import annotations

import configparser
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import yaml

from gaitstream.cli import build_parser, main
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.deepstream.compare import RunScore, finals, owner, read_truth, score, table
from gaitstream.deepstream.compare import main as compare_main
from gaitstream.deepstream.graph import build_graph, room_for_cameras
from gaitstream.deepstream.models import make_plan
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.render import render
from gaitstream.engines import open_engine
from gaitstream.errors import ConfigError
from gaitstream.events import IdentityFinal, Journal, TrackEnded, encode
from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.gaitheat.nvinfer import operator_inputs
from gaitstream.models.gaitheat.spec import parse_groups
from gaitstream.models.graphs.walkers import draw_crop
from gaitstream.models.manifest import Graphs
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.models.recognizer import Recognizer
from gaitstream.zoo import find
from tests.pipeline.tiny import GROUPS, tiny_bundle


def test_the_files_are_readable_and_hold_no_password(config: Config, plan: Plan, tmp_path: Path) -> None:
    graph, files = render(config, plan, tmp_path / "graph", view=True)
    assert [path.name for path in files] == [
        "detector.txt", "encoder-biggait.txt", "encoder-gaitheat.txt", "graph.svg", "pipeline.yaml",
        "tracker.yml",
    ]  # fmt: skip
    assert not any("hunter2" in path.read_text() for path in files)
    assert "hunter2" in str(graph.node("cameras").properties["uri-list"])  # the process gets it
    pipeline = yaml.safe_load((tmp_path / "graph" / "pipeline.yaml").read_text())["deepstream"]
    assert [node["name"] for node in pipeline["nodes"]][:3] == ["cameras", "queue-detector", "detector"]
    assert pipeline["edges"]["tee"] == ["queue-sink", "queue-view"]
    encoder = configparser.ConfigParser()
    encoder.read(tmp_path / "graph" / "encoder-biggait.txt")
    wanted = {"network-type": "100", "process-mode": "2", "output-tensor-meta": "1", "scaling-filter": "1"}
    assert wanted.items() <= dict(encoder["property"]).items()
    assert yaml.safe_load((tmp_path / "graph" / "tracker.yml").read_text().partition("\n")[2])["BaseConfig"]
    ET.parse(tmp_path / "graph" / "graph.svg")


def test_what_operation_needs_is_set_and_not_left_to_defaults(config: Config, plan: Plan) -> None:
    graph = build_graph(config, plan, Path("/out"))
    source = graph.node("cameras").properties
    assert source["rtsp-reconnect-interval"] == 10
    assert source["rtsp-reconnect-attempts"] == -1
    assert source["port"] == "127.0.0.1:9000"
    assert source["live-source"]
    assert source["drop-pipeline-eos"]
    assert source["async-handling"]
    assert graph.node("sink").properties["async"] is False
    assert dict(graph.probes) == {
        "cameras": "muxer",
        "queue-tracker": "detection",
        "tracker": "crop",
        "encoder-biggait": "next",
        "queue-copy": "copy",
    }


def test_recognizers_may_be_called_as_elements_are(config: Config, plan: Plan) -> None:
    """They may have any name; two elements of one name would be linked as one."""
    names = ("detector", "tracker", "copy", "sink", "view")
    encoders = tuple(replace(plan.encoders[0], name=name) for name in names)
    graph = build_graph(config, replace(plan, encoders=encoders), Path("/out"), view=True)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    twice = replace(graph, nodes=(*graph.nodes, graph.node("tracker")))
    assert twice.problems() == ["2 elements are called 'tracker'"]


def test_a_site_without_a_camera_has_no_graph(config: Config, plan: Plan) -> None:
    off = [camera.model_copy(update={"enabled": False}) for camera in config.cameras]
    with pytest.raises(ConfigError, match="no camera is enabled: set enabled: true"):
        build_graph(config.model_copy(update={"cameras": off}), plan, Path("/out"))


@pytest.mark.parametrize("address", [
    "0.0.0.0:9000", "10.0.0.1:9000", "9000", "localhost:9000", "127.0.0.1:0", "127.0.0.1:99999",
])  # fmt: skip
def test_the_rest_server_is_on_loopback_or_off(address: str, site: Any, make_plan: Any) -> None:
    with pytest.raises(ValueError, match="rest"):
        site(deepstream={"rest": address})
    off = build_graph(site(deepstream={"rest": None}), make_plan(), Path("/out"))
    assert off.node("cameras").properties["port"] == "0"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("synth://plaza", "--frontend native"),
        ("/dev/video0", "--frontend native"),
        ("rtsp://h/a,b", "%2C"),
    ],
)
def test_sources_deepstream_cannot_read_are_refused(url: str, says: str, plan: Plan) -> None:
    config = Config.model_validate({"cameras": [{"id": "a", "url": url}]})
    with pytest.raises(ConfigError, match=says):
        build_graph(config, plan, Path("/out"))


def test_room_for_cameras(site: Any) -> None:
    assert room_for_cameras(site()) == 2
    with pytest.raises(ConfigError, match="max_cameras is 1"):
        room_for_cameras(site(deepstream={"max_cameras": 1}))


def write_cams(folder: Path, bundle: Path | str) -> Path:
    file = folder / "cams.yaml"
    events = f"{{endpoint: 'ipc://{folder}/events', replay: 'ipc://{folder}/replay'}}"
    text = f"cameras: [{{id: a, url: 'rtsp://h/1'}}]\nmodels: {{gaitheat: {bundle}}}\nevents: {events}\n"
    file.write_text(text)
    return file


def with_graph(bundle: Bundle) -> Bundle:
    """The bundle with something in the place of its graph for nvinfer: only its presence is looked at."""
    shutil.copyfile(bundle.root / "frame.onnx", bundle.root / "deepstream.onnx")
    graphs = Graphs(frame="frame.onnx", head="head.onnx", deepstream="deepstream.onnx")
    write_manifest(msgspec.structs.replace(bundle.manifest, graphs={"fp32": graphs}), bundle.root)
    return Bundle.open(bundle.root)


def test_a_bundle_without_the_graph_says_how_to_get_it(tmp_path: Path, capsys: Any) -> None:
    """With the options the bundle was exported with: they are part of the model."""
    bundle = tiny_bundle(tmp_path / "bundle", "gaitheat")
    file = write_cams(tmp_path, bundle.root)
    assert main(["deepstream", "render", "--cameras", str(file), "--out", str(tmp_path / "out")]) == 1
    words = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert words[:7] == [
        "gaitstream", "export", "gaitheat", "--checkpoint", "CHECKPOINT", "--out", "bundle-deepstream"
    ]  # fmt: skip
    build_parser().parse_args(words[1:])  # a command that can be given
    told = dict(itertools.pairwise(words))
    assert told["--target"] == "deepstream"
    assert Path(told["--pose"]).is_file()
    assert parse_groups(told["--groups"]) == GROUPS
    assert (told["--gamma"], told["--small-angle"], told["--precision"]) == ("5", "identity", "fp32")
    assert main(["run", "--cameras", str(file), "--frontend", "deepstream", "--no-table"]) == 3


def test_a_bundle_in_single_precision_alone_runs_in_it(tmp_path: Path) -> None:
    bundle = with_graph(tiny_bundle(tmp_path / "bundle", "gaitheat"))
    file = write_cams(tmp_path, bundle.root)
    assert main(["deepstream", "render", "--cameras", str(file), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "encoder-gaitheat.txt").read_text()
    assert "network-mode=0\n" in text
    assert "_fp32.engine" in text
    assert f"onnx-file={bundle.root / 'deepstream.onnx'}" in text


@pytest.mark.parametrize("compiled", [True, False])
def test_our_plugin_is_used_where_its_library_is(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph in standard operators serves everywhere else."""
    bundle = with_graph(tiny_bundle(tmp_path / "bundle", "gaitheat"))
    shutil.copyfile(bundle.root / "deepstream.onnx", bundle.root / "deepstream_plugin.onnx")
    graphs = msgspec.structs.replace(
        bundle.manifest.graphs["fp32"], deepstream_plugin="deepstream_plugin.onnx"
    )
    write_manifest(msgspec.structs.replace(bundle.manifest, graphs={"fp32": graphs}), bundle.root)
    monkeypatch.setenv("GAITSTREAM_NATIVE", str(tmp_path))
    if compiled:
        (tmp_path / "libgaitstream_plugins.so").touch()
    [encoder] = make_plan(load_config(write_cams(tmp_path, bundle.root))).encoders
    assert encoder.plugins == compiled
    assert encoder.onnx.name == ("deepstream_plugin.onnx" if compiled else "deepstream.onnx")


def test_the_demo_is_joined_with_its_pose_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph from crops to features and joints, kept once, that computes what the parts of it do."""
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    file = write_cams(tmp_path, "demo")
    assert main(["deepstream", "render", "--cameras", str(file), "--out", str(tmp_path / "out")]) == 0
    [encoder] = make_plan(load_config(file)).encoders
    assert [encoder.onnx] == list((tmp_path / "cache").rglob("gaitheat-*.onnx"))
    assert (encoder.half, encoder.plugins, encoder.has_joints) == (False, False, True)
    crops = np.stack([draw_crop(person, 0.3, 0.75, np.random.default_rng(person)) for person in range(3)])
    crops = np.stack([cv2.resize(crop.transpose(1, 2, 0), (192, 256)).transpose(2, 0, 1) for crop in crops])
    with open_engine(encoder.onnx, "openvino", "fp32") as engine:
        found = engine.infer({"crops": crops.astype(np.float32)})
    pose = PoseModel.load("demo", "openvino", "fp32")
    heatmaps = pose.heatmaps(crops)
    pose.close()
    points = keypoints(heatmaps)
    np.testing.assert_allclose(found["gaitheat_keypoints"], points, atol=1e-4)
    recognizer = Recognizer.load(find("demo", "recognizer"), runtime="openvino", precision="fp32")
    features = recognizer.encode(heatmaps, points)
    error = np.linalg.norm(found["gaitheat_feature"].astype(np.float32) - features) / np.linalg.norm(features)
    assert error < 1e-3


def test_the_joined_graph_holds_our_operator_where_the_plugin_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    file = write_cams(tmp_path, "demo")
    plain = make_plan(load_config(file)).encoders[0].onnx
    monkeypatch.setenv("GAITSTREAM_NATIVE", str(tmp_path))
    (tmp_path / "libgaitstream_plugins.so").touch()
    [encoder] = make_plan(load_config(file)).encoders
    assert encoder.plugins
    assert encoder.onnx != plain
    assert len(operator_inputs(encoder.onnx)) == 2


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    file = write_cams(tmp_path, "demo")
    assert main(["deepstream", "render", "--cameras", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "set GAITSTREAM_CACHE to another folder" in capsys.readouterr().err


def test_joining_needs_no_pytorch(tmp_path: Path) -> None:
    """A machine with DeepStream has none."""
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from gaitstream.config.reading import load_config\n"
        "from gaitstream.deepstream.models import make_plan\n"
        f"print(make_plan(load_config({str(write_cams(tmp_path, 'demo'))!r})).encoders[0].onnx)"
    )
    cache = {**os.environ, "GAITSTREAM_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=cache, check=True
    )
    assert Path(ran.stdout.strip()).is_file()


def test_runs_are_compared_with_the_truth(tmp_path: Path) -> None:
    folder = tmp_path / "cam" / "gt"
    folder.mkdir(parents=True)
    rows = [f"{f},{who},{10 * f + 1},{50 * who + 1},20,40,1,1,1.0" for f in range(1, 61) for who in (1, 2)]
    (folder / "gt.txt").write_text("\n".join(rows))
    people = [{"id": 1, "name": "ann"}, {"id": 2, "name": "bob"}]
    (tmp_path / "identities.json").write_text(json.dumps(people))
    truth = read_truth(folder / "gt.txt")
    assert owner(truth, 60, (600, 50, 620, 90)) == 1
    assert owner(truth, 60, (300, 50, 320, 90)) is None

    def final(track: int, who: int, person: str | None) -> IdentityFinal:
        box = (600.0, 50.0 * who, 620.0, 50.0 * who + 40)
        time_ns = round(59 / 15 * 1e9)
        return IdentityFinal(
            time_ns=time_ns, run="r", camera="cam", track=track, status="known", person=person, distance=1.0,
            margin=None, threshold=2.0, first_ns=0, frames=50, windows=2, provisional=False, reason=None,
            box=box, candidates=((person or "ann", 1.0), ("zoe", 3.0)),
        )  # fmt: skip

    def run(*events: IdentityFinal) -> RunScore:
        return score(tmp_path, events, {"cam": 0}, 15)

    both = run(final(1, 1, "ann"), final(2, 2, "bob"))
    again = run(final(1, 1, None), final(5, 1, "ann"), final(2, 2, "bob"))
    one = run(final(7, 1, "ann"))
    swapped = run(final(1, 1, "bob"), final(2, 2, "ann"))
    nobody = run(final(1, 1, None), final(2, 2, None))
    assert (both.expected, both.found, both.tracks, both.rightly) == (2, 2, 2, 2)
    assert both.named == {("cam", 1): "ann", ("cam", 2): "bob"}
    assert (again.found, again.tracks) == (2, 3)
    assert (swapped.rightly, nobody.named) == (0, {})
    assert table(both, again, names=True)[1]
    assert "by both: 2, with the same person nearest: 0" in table(both, swapped, names=True)[0]
    for other in (one, swapped, nobody):
        assert not table(both, other, names=True)[1]
    assert not table(nobody, nobody, names=True)[1]
    text, holds = table(swapped, swapped, names=True)  # of one mind, and both wrong
    assert not holds
    assert "less than 90% of the names are right" in text
    assert table(nobody, both, names=False)[1]
    assert not table(both, one, names=False)[1]
    assert np.isfinite(truth).all()


def test_what_cannot_be_compared_is_said_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["--cameras", "1", "--people", "1", "--seconds", "1", "--size", "64x64"]
    assert main(["synth", "--out", str(tmp_path / "site"), *made]) == 0
    empty, broken, nothing = (tmp_path / name for name in ("empty", "broken", "nothing"))
    Journal(empty).close()
    journal = Journal(broken)
    for _ in range(3):
        journal.append("x", b"no event")
    journal.close()
    [file] = broken.glob("*.journal")
    data = bytearray(file.read_bytes())
    data[-60] ^= 255
    file.write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    for site, folder, said in (
        (nothing, empty, "nothing/cams.yaml: no such file"),
        (tmp_path / "site", nothing, "nothing: there is no journal"),
        (tmp_path / "site", empty, "empty: the journal is empty"),
        (tmp_path / "site", broken, "events are damaged"),
    ):
        assert compare_main([str(site), str(folder), str(folder)]) in (1, 2)
        assert said in capsys.readouterr().err
    assert compare_main([]) == 2
    (tmp_path / "site" / "identities.json").write_text("[{}]")
    with pytest.raises(ConfigError, match=r"identities\.json cannot be read"):
        score(tmp_path / "site", [], {}, 15)
    (tmp_path / "site" / "identities.json").unlink()
    with pytest.raises(ConfigError, match="gaitstream synth"):
        score(tmp_path / "site", [], {}, 15)
    with pytest.raises(ConfigError, match=r"gt\.txt cannot be read"):
        score(tmp_path / "site", [], {"other": 0}, 15)
    (tmp_path / "site" / "cam1" / "gt" / "gt.txt").write_text("")
    assert read_truth(tmp_path / "site" / "cam1" / "gt" / "gt.txt").shape == (0, 7)  # nobody came by
    assert {path for path in before if path.name != "identities.json"} == set(tmp_path.rglob("*"))


def test_a_track_is_looked_for_where_it_was_seen_last(tmp_path: Path) -> None:
    """Its box is of that moment; the evidence may have ended before."""
    final = IdentityFinal(
        time_ns=5, run="r", camera="cam", track=1, status="unknown", person=None, distance=None, margin=None,
        threshold=None, first_ns=0, frames=9, windows=0, provisional=True, reason="too_short",
        box=(0.0, 0.0, 1.0, 1.0),
    )  # fmt: skip
    ended = TrackEnded(
        time_ns=8, run="r", camera="cam", track=1, cause="lost", first_ns=0, seen=20, accepted=9,
        outcome="unknown",
    )  # fmt: skip
    journal = Journal(tmp_path / "journal")
    for event in (final, ended):
        journal.append(event.topic, encode(event))
    journal.close()
    assert [(event.track, event.time_ns) for event in finals(tmp_path / "journal")] == [(1, 8)]

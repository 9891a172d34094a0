"""Every name and value that can be emitted is one that DeepStream 9.1 knows."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from gaitstream.config.schema import Config
from gaitstream.deepstream import (
    api,
    boxes,
    cameras,
    child,
    copy_probe,
    graph,
    nvinfer,
    probes,
    table,
    tracker,
)
from gaitstream.deepstream.elements import Graph, Node, PadLink
from gaitstream.deepstream.graph import build_graph
from gaitstream.deepstream.plan import Plan
from gaitstream.errors import ConfigError
from gaitstream.models.detector_layouts import OWN

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "deepstream": [
        {},
        {"tracker": "nvdcf", "clock": "camera", "rest": None, "max_cameras": 64},
        {"gpu": 3, "latency_ms": 0, "reconnect_s": 3600, "width": 64, "height": 8192, "source_fps": 240},
    ],
    "models": [
        {},
        {"detector": {"score": 0.0, "nms_iou": 1.0}},
        {"detector": {"score": 1.0, "nms_iou": 0.0}},
    ],
    "tracking": [
        {},
        {"min_hits": 1, "lost_s": 60, "iou": 0, "new_track_score": 1.0},
        {"iou": 1, "lost_s": 0.001},
    ],
}


def every_site(site: Any) -> list[Config]:
    sites = [
        site(**dict(zip(OPTIONS, values, strict=True))) for values in itertools.product(*OPTIONS.values())
    ]
    slow = {"cameras": [{"id": "a", "url": "rtsp://h/1", "fps": 0.5, "transport": "udp", "detect_every": 30}]}
    free = {"cameras": [{"id": "a", "url": "http://h/1", "fps": None}]}
    file = {"cameras": [{"id": "a", "url": __file__, "loop": True}]}
    return [*sites, *(Config.model_validate(one) for one in (slow, free, file))]


def test_every_option_gives_known_names_and_values(site: Any, make_plan: Any) -> None:
    seen = set()
    for config in every_site(site):
        for layout, kinds, view in itertools.product(
            OWN, (("biggait",), ("gaitheat",), ("biggait", "gaitheat")), (False, True)
        ):
            plan = make_plan(layout=layout, kinds=kinds)
            built = build_graph(config, plan, Path("/out"), view=view)
            assert built.problems() == []
            seen |= {node.kind for node in built.nodes}
            assert table.check_nvinfer(nvinfer.detector_sections(config, plan)) == []
            for index in range(len(kinds)):
                assert table.check_nvinfer(nvinfer.encoder_sections(config, plan, index)) == []
        assert table.check_tracker(tracker.tracker_sections(config)) == []
    assert seen == set(table.load()["elements"])


@pytest.mark.parametrize(
    ("element", "name", "value", "says"),
    [
        ("nvinfer", "bach-size", 4, "did you mean 'batch-size'"),
        ("nvinfr", "batch-size", 4, "did you mean 'nvinfer'"),
        ("nvinfer", "batch-size", 4096, "outside 1..1024"),
        ("nvinfer", "batch-size", "4", "is text"),
        ("nvinfer", "process-mode", 3, "not one of 1, 2"),
        ("nvinfer", "process-mode", "secondary", "enums take the number"),
        ("nvmultiurisrcbin", "port", 9000, "not text"),
        ("nvmultiurisrcbin", "select-rtp-protocol", 3, "not one of"),
        ("nvmultiurisrcbin", "udp-buffer-size", 2**31, "32 bits"),
        ("nvmultiurisrcbin", "live-source", 2, "not 0 or 1"),
        ("nvtracker", "tracker-width", 1.5, "not an integer"),
    ],
)
def test_a_wrong_property_is_named(element: str, name: str, value: Any, says: str) -> None:
    (problem,) = table.check_property(element, name, value)
    assert says in problem


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"property": {"netwrok-type": 0}}, "did you mean 'network-type'"),
        ({"property": {"network-type": 4}}, "not one of 0, 1, 2, 3, 100"),
        ({"property": {"network-type": 100}, "class-attrs-all": {"topk": 1}}, "network-type 0 and 3 only"),
        ({"property": {"network-type": 0, "infer-dims": "3;x;4"}}, "not a list"),
        ({"property": {"network-type": 0, "input-tensor-meta": 1}}, "unknown"),
        ({"class-attrs-all": {"topk": 1}}, "'property' is missing"),
    ],
)
def test_a_wrong_nvinfer_key_is_named(sections: Any, says: str) -> None:
    assert any(says in problem for problem in table.check_nvinfer(sections))


def test_a_wrong_tracker_key_is_named() -> None:
    assert "did you mean" in table.check_tracker({"BaseConfig": {"minDetectorConfidance": 0.1}})[0]
    assert "outside" in table.check_tracker({"StateEstimator": {"stateEstimatorType": 4}})[0]


@pytest.mark.parametrize("planted", ["rtsp-reconnect-intervall", "ip-adress"])
def test_a_planted_misspelling_stops_the_build(
    planted: str, config: Config, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graph._source
    monkeypatch.setattr(graph, "_source", lambda site: {**real(site), planted: 1})
    with pytest.raises(ConfigError, match=planted):
        build_graph(config, plan, Path("/out"))


def test_a_planted_pad_is_found(config: Config, plan: Plan) -> None:
    built = build_graph(config, plan, Path("/out"), view=True)
    wrong = Graph(
        (*built.nodes, Node("queue", "more")), (*built.links, PadLink("tee", "more", "src_0")), built.probes
    )
    assert len(wrong.problems()) == 1
    assert "src_%u" in wrong.problems()[0]


def members(protocol: type[Any]) -> set[str]:
    own = {name for name in vars(protocol) if not name.startswith("_") or name == "__dlpack__"}
    return own | set(inspect.get_annotations(protocol))


def test_every_name_of_the_python_api_is_documented() -> None:
    known = table.load()["api"]
    for section, protocol in api.PROTOCOLS.items():
        assert members(protocol) <= set(known[section]), section
    assert inspect.signature(api.ServiceMakerPipeline.attach).parameters.keys() == {"self", "target", "what"}


def test_the_code_reads_no_other_name_of_the_python_api() -> None:
    """Types hold at mypy's word; this holds without it, for what the probes and the process touch."""
    api_names = {name for protocol in api.PROTOCOLS.values() for name in members(protocol)}
    tails = {"meta", "frame", "person", "batch", "item", "message", "pipeline", "maker", "params", "rect"}
    for module in (boxes, probes, copy_probe, child):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in tails
            ):
                assert node.attr in api_names, f"{module.__name__}: {node.value.id}.{node.attr}"


def test_the_rest_paths_are_documented() -> None:
    assert table.check_rest("POST", cameras.ADD) == []
    assert table.check_rest("POST", cameras.REMOVE) == []
    assert "did you mean" in table.check_rest("POST", "/api/v1/stream/ad")[0]


def test_the_table_says_what_the_sources_say(shared: Path) -> None:
    facts = json.loads((shared / "facts" / "deepstream-9.1-elements.json").read_text())
    own = table.load()
    for name, element in own["elements"].items():
        if name not in facts["elements"]:
            continue  # GStreamer's own: compared with GStreamer
        source = facts["elements"][name]
        assert element["pads"] == [pad["name"] for pad in source["pads"]]
        theirs = facts["base_classes"].get(source["parent"], {}) | source["properties"]
        for key, rule in element["properties"].items():
            assert rule["type"] == theirs[key]["type"]
            assert rule.get("range") == theirs[key].get("range")
            assert rule.get("enum", []) == [number for number, _ in theirs[key].get("enum") or []]
    for section, keys in own["nvinfer"].items():
        for key, rule in keys.items():
            theirs = facts["nvinfer_config"][section][key]
            assert {k: theirs.get(k) for k in rule} == rule
    for section, keys in own["tracker"].items():
        assert {k: v["type"] for k, v in facts["nvtracker_config"][section].items()} == {
            k: v["type"] for k, v in keys.items()
        }
    assert own["rest"]["POST"] == facts["rest_api"]["POST"]

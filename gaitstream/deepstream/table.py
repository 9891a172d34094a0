"""Checks every name and value we hand to DeepStream before DeepStream sees it.

DeepStream ignores what it does not know: an unknown property prints a line, an unknown configuration key
another, a nick in place of an enum's number keeps the old value, and the pipeline runs on with other
settings than those written down. So names, types, ranges and enums are checked here against `table.json`,
which was condensed from NVIDIA's sources for the elements that we use (its `source` says which).
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

Value = str | int | float | bool

INT32 = (-(2**31), 2**31 - 1)
"""What pyservicemaker can set: its integers have 32 bits, whatever the property holds."""

TRACKER_RANGES: Mapping[str, tuple[float, float]] = {
    "stateEstimatorType": (0, 3),
    "associationMatcherType": (0, 1),
    "dataAssociatorType": (0, 0),
    "visualTrackerType": (0, 2),
    "vpiBackend4DcfTracker": (1, 2),
    "featureImgSizeLevel": (1, 5),
    "featureFocusOffsetFactor_y": (-0.5, 0.5),
    "filterLr": (0, 1),
    "filterChannelWeightsLr": (0, 1),
    "minDetectorConfidence": (0, 1),
    "minTrackerConfidence": (0, 1),
    "minIouDiff4NewTarget": (0, 1),
    "tentativeDetectorConfidence": (0, 1),
}
"""Ranges that the tracker's documentation states; its parser is closed and states none."""


@functools.cache
def load() -> dict[str, Any]:
    """The table: `elements`, `nvinfer`, `tracker`, `api`, `rest`, `environment`."""
    text = resources.files(__package__).joinpath("table.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def check_property(element: str, name: str, value: Value) -> list[str]:
    """What is wrong with setting this property of this element from Python; empty when nothing is."""
    elements = load()["elements"]
    if element not in elements:
        return [_unknown(f"element {element!r}", element, elements)]
    properties = elements[element]["properties"]
    if name not in properties:
        return [_unknown(f"{element}: property {name!r}", name, properties)]
    return _check_value(f"{element}.{name}", properties[name], value)


def check_pad(element: str, pad: str) -> list[str]:
    """What is wrong with linking this pad (or pad template) of this element."""
    elements = load()["elements"]
    if element not in elements:
        return [_unknown(f"element {element!r}", element, elements)]
    pads = elements[element]["pads"]
    return [] if pad in pads else [_unknown(f"{element}: pad {pad!r}", pad, pads)]


def check_nvinfer(sections: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """What is wrong with an nvinfer configuration, given as sections of keys."""
    known = load()["nvinfer"]
    problems: list[str] = []
    for section, keys in sections.items():
        name = "class-attrs-all" if section.removeprefix("class-attrs-").isdigit() else section
        if name not in known:
            problems.append(_unknown(f"nvinfer: section {section!r}", section, known))
            continue
        for key, value in keys.items():
            if key not in known[name]:
                problems.append(_unknown(f"nvinfer [{section}]: key {key!r}", key, known[name]))
            else:
                problems += _check_value(f"nvinfer [{section}] {key}", known[name][key], value)
    if "property" not in sections:
        problems.append("nvinfer: section 'property' is missing")
    elif sections["property"].get("network-type") not in (0, 3) and len(sections) > 1:
        problems.append("nvinfer: class-attrs sections are read for network-type 0 and 3 only")
    return problems


def check_tracker(sections: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """What is wrong with a tracker configuration."""
    known = load()["tracker"]
    problems: list[str] = []
    for section, keys in sections.items():
        if section not in known:
            problems.append(_unknown(f"nvtracker: section {section!r}", section, known))
            continue
        for key, value in keys.items():
            if key not in known[section]:
                problems.append(_unknown(f"nvtracker {section}: key {key!r}", key, known[section]))
                continue
            rule = dict(known[section][key])
            if key in TRACKER_RANGES:
                rule["range"] = TRACKER_RANGES[key]
            problems += _check_value(f"nvtracker {section}.{key}", rule, value)
    return problems


def check_rest(method: str, path: str) -> list[str]:
    """What is wrong with a call of the REST server inside nvmultiurisrcbin."""
    paths = load()["rest"].get(method, [])
    return [] if path in paths else [_unknown(f"REST {method} {path!r}", path, paths)]


def _check_value(where: str, rule: Mapping[str, Any], value: Value) -> list[str]:
    kind = rule["type"]
    if kind in ("string", "boxed") or kind.endswith("-list"):
        return _check_text(where, kind, value)
    if isinstance(value, str):
        return [f"{where}: {value!r} is text; a number of type {kind} is needed (enums take the number)"]
    if kind in ("bool", "boolean"):
        return [] if value in (0, 1) else [f"{where}: {value!r} is not 0 or 1"]
    if kind in ("double", "float"):
        return _check_range(where, rule, value)
    if isinstance(value, bool) or not isinstance(value, int):
        return [f"{where}: {value!r} is not an integer"]
    if not INT32[0] <= value <= INT32[1]:
        return [f"{where}: {value} does not fit the 32 bits that can be set from Python"]
    allowed = rule.get("enum", rule.get("allowed"))
    if allowed is not None and value not in allowed:
        return [f"{where}: {value} is not one of {', '.join(map(str, allowed))}"]
    return _check_range(where, rule, value)


def _check_text(where: str, kind: str, value: Value) -> list[str]:
    if not isinstance(value, str):
        return [f"{where}: {value!r} is not text"]
    if kind in ("int-list", "double-list"):
        number = int if kind == "int-list" else float
        try:
            for item in value.rstrip(";").split(";"):
                number(item)
        except ValueError:
            return [f"{where}: {value!r} is not a list of numbers separated by ';'"]
    return []


def _check_range(where: str, rule: Mapping[str, Any], value: float) -> list[str]:
    if "range" not in rule:
        return []
    low, high = rule["range"]
    return [] if low <= value <= high else [f"{where}: {value} is outside {low}..{high}"]


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{what} is unknown to DeepStream 9.1{hint}"

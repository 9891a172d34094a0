"""Stacks are counted by the package's innermost function; an engine's time is its caller's."""

from __future__ import annotations

from gaitstream.bench.profile import count_stacks, describe

RUN = "main (gaitstream/bench/profile.py:9);run (gaitstream/pipeline/runner.py:105)"
POSE = f"{RUN};_encode (gaitstream/pipeline/runner.py:170);heatmaps (gaitstream/models/pose.py:137)"
STACKS = [
    f"{POSE};wait (gaitstream/engines/openvino.py:90);0x7f (libc.so.6) 60",
    f"{POSE};finish (gaitstream/engines/slots.py:80) 10",
    f"{RUN};_track (gaitstream/pipeline/runner.py:160);update (trackers/core.py:3) 20",
    "_run (gaitstream/pipeline/source/reader.py:140);put (gaitstream/pipeline/source/queue.py:40) 500",
    f"{RUN} 10",
]


def test_costs_are_those_of_the_pipelines_thread() -> None:
    costs = count_stacks(STACKS)
    assert sum(costs.values()) == 100
    heatmaps = "engine of heatmaps (models/pose.py) < _encode (pipeline/runner.py) < run (pipeline/runner.py)"
    assert costs[heatmaps] == 70
    assert costs["_track (pipeline/runner.py) < run (pipeline/runner.py)"] == 20


def test_the_three_largest_are_named() -> None:
    text = describe(count_stacks(STACKS), "a test")
    assert text.startswith(
        "the three largest costs: engine of heatmaps (models/pose.py) 70%, _track (pipeline/runner.py) 20%, "
        "run (pipeline/runner.py) 10%"
    )
    assert "| 70.0% | engine of heatmaps (models/pose.py)" in text

"""Counters, their Prometheus form, the table and the hints."""

from __future__ import annotations

import io
import json
import logging
import re
import urllib.error
import urllib.request
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from gaitstream.data import Reason
from gaitstream.errors import ConfigError
from gaitstream.telemetry.display import HINTS, JsonFormatter, Rates, summary, table
from gaitstream.telemetry.metrics import MetricsServer, exposition
from gaitstream.telemetry.stats import (
    CameraStats,
    Histogram,
    Snapshot,
    Stats,
    decode_snapshot,
    encode_snapshot,
)

LINE = re.compile(r'^[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? -?[0-9.e+]+$')


@pytest.fixture
def stats() -> Stats:
    stats = Stats()
    gate = stats.camera('ga"te\\')
    gate.decoded, gate.skipped, gate.analysed, gate.tracks_ended = 90, 60, 30, 2
    gate.rejections.update(standing=7)
    gate.unnamed.update(too_short=1)
    gate.outcomes.update(known=1, insufficient_evidence=1)
    gate.latency.observe(12)
    stats.observe("detect", 3.0)
    stats.batch("encode", 5)
    stats.now.events["identity.final"] = 2
    return stats


def test_exposition_is_well_formed_and_complete(stats: Stats) -> None:
    lines = exposition(stats.snapshot()).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert [line for line in samples if not LINE.match(line)] == []
    assert 'gaitstream_frames_total{camera="ga\\"te\\\\",fate="analysed"} 30' in samples
    assert 'gaitstream_rejections_total{camera="ga\\"te\\\\",reason="standing"} 7' in samples
    assert 'gaitstream_stage_seconds_bucket{stage="detect",le="0.005"} 1' in samples
    assert 'gaitstream_stage_seconds_sum{stage="detect"} 0.003' in samples
    assert 'gaitstream_events_total{type="identity.final"} 2' in samples
    assert any(line.startswith("gaitstream_memory_bytes ") for line in samples)
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_the_server_answers_on_its_port_and_says_when_it_is_taken(stats: Stats) -> None:
    server = MetricsServer("127.0.0.1", 0, stats.snapshot)
    try:
        address = f"http://127.0.0.1:{server.port}"
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            assert b"gaitstream_frames_total" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/secrets", timeout=10)
        with pytest.raises(ConfigError, match=r"set metrics\.port"):
            MetricsServer("127.0.0.1", server.port, stats.snapshot)
    finally:
        server.close()


def test_snapshots_of_workers_add_up(stats: Stats) -> None:
    whole = decode_snapshot(encode_snapshot(stats.snapshot()))
    other = Stats()
    other.camera("yard").analysed = 5
    other.observe("detect", 4.0)
    other.now.events["identity.final"] = 3
    whole.merge(other.snapshot())
    assert set(whole.cameras) == {'ga"te\\', "yard"}
    assert whole.stages["detect"].count == 2
    assert whole.events == {"identity.final": 5}


@example(values=[1.0, 1.0, 1.0, 0.0625, 0.0625, 0.0625], q=0.5)
@given(st.lists(st.floats(0.01, 20_000), min_size=1, max_size=100), st.sampled_from([0.5, 0.95]))
def test_quantiles_lie_in_the_right_bucket(values: list[float], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    exact = sorted(values)[max(0, -(-int(q * 100) * len(values) // 100) - 1)]
    bounds = (0.0, *histogram.bounds)
    bucket = next(i for i, bound in enumerate(bounds) if exact <= bound)
    found = histogram.quantile(q)
    assert found is not None
    assert bounds[bucket - 1] <= found <= bounds[bucket]


def test_an_empty_histogram_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_rates_come_from_successive_snapshots() -> None:
    rates, snapshot = Rates(), Snapshot(uptime_s=1.0)
    camera = Stats().camera("gate")
    snapshot.cameras["gate"] = camera
    assert rates.update(snapshot) == {}
    camera.decoded, camera.analysed, snapshot.uptime_s = 90, 45, 4.0
    assert rates.update(snapshot) == {"gate": (30.0, 15.0)}


def test_the_table_shows_every_camera(stats: Stats) -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(table(stats.snapshot(), {}))
    assert 'ga"te\\' in out.getvalue()
    assert "30 frames" in out.getvalue()


def test_the_summary_says_why_and_what_to_do(stats: Stats) -> None:
    text = "\n".join(summary(stats.snapshot()))
    assert "2 tracks ended: 1 known, 1 insufficient_evidence" in text
    assert "1 x too_short: " + HINTS[Reason.TOO_SHORT] in text
    assert set(HINTS) == set(Reason)
    assert "nobody was tracked" in "\n".join(summary(Snapshot(events=Counter())))


def test_the_summary_names_cameras_without_a_picture(stats: Stats) -> None:
    blind, seen = CameraStats(state="failed", reason="nope.mp4: no such file"), CameraStats(decoded=30)
    waiting = CameraStats(state="connecting")
    nothing = "\n".join(summary(Snapshot(cameras={"gate": blind, "yard": waiting})))
    assert "no picture came from camera gate: nope.mp4: no such file" in nothing
    assert "no picture came from camera yard: the run was stopped before it answered" in nothing
    assert "nobody was tracked" not in nothing
    one = "\n".join(summary(Snapshot(cameras={"gate": blind, "hall": seen})))
    assert "no picture came from camera gate" in one
    assert "no picture came from camera hall" not in one
    assert "nobody was tracked" in one
    assert "no picture" not in "\n".join(summary(stats.snapshot()))


def test_json_logs_are_one_object_per_line() -> None:
    record = logging.LogRecord("gaitstream.run", logging.INFO, "", 0, "camera %s\nup", ("gate",), None)
    record.decision = {"track": 3}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "camera gate\nup"
    assert json.loads(line)["decision"] == {"track": 3}

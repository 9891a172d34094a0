"""Counters, their Prometheus form, the table and the hints."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from gaitstream.data import Reason
from gaitstream.errors import TelemetryError
from gaitstream.telemetry.display import HINTS, Rates, summary, table
from gaitstream.telemetry.health import STALLED_S, liveness
from gaitstream.telemetry.logs import JsonFormatter
from gaitstream.telemetry.metrics import SnapshotCollector, exposition
from gaitstream.telemetry.server import MOST_CONNECTIONS, TelemetryServer
from gaitstream.telemetry.stats import (
    CameraCounters,
    Histogram,
    Snapshot,
    Stats,
    decode_snapshot,
    encode_snapshot,
)


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
    stats.now.evidence.update(kept=1, queue_full=3)
    return stats


def samples(data: bytes) -> dict[tuple[str, frozenset[str]], float]:
    """Value by name and label values, as Prometheus' own parser reads them."""
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def test_exposition_is_complete(stats: Stats) -> None:
    found = samples(exposition(stats.snapshot()))

    def value(name: str, *labels: str) -> float:
        return found[f"gaitstream_{name}", frozenset(labels)]

    assert value("frames_total", 'ga"te\\', "analysed") == 30
    assert value("rejections_total", 'ga"te\\', "standing") == 7
    assert value("stage_seconds_bucket", "detect", "0.005") == 1
    assert value("stage_seconds_sum", "detect") == 0.003
    assert value("events_total", "identity.final") == 2
    assert value("evidence_total", "queue_full") == 3
    assert value("event_latency_seconds_count") == 0
    assert value("memory_bytes") > 1e6
    lines = exposition(stats.snapshot()).decode().splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_every_metric_is_in_the_documentation(stats: Stats) -> None:
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    missing = [
        f"{family.name}: {family.documentation}"
        for family in SnapshotCollector(stats.snapshot).collect()
        if f"`{family.name}{'_total' * (family.type == 'counter')}" not in page
        or family.documentation not in page
    ]
    assert missing == []


@pytest.fixture
def server(stats: Stats) -> Iterator[TelemetryServer]:
    server = TelemetryServer("127.0.0.1", 0, stats.snapshot)
    yield server
    server.close()


def get(server: TelemetryServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_server_answers_on_its_port_and_says_when_it_is_taken(
    stats: Stats, server: TelemetryServer
) -> None:
    assert "gaitstream_frames_total" in get(server, "/metrics?name=x")[1]
    assert get(server, "/secrets")[0] == 404
    with pytest.raises(TelemetryError, match=r"set metrics\.port") as caught:
        TelemetryServer("127.0.0.1", server.port, stats.snapshot)
    assert caught.value.exit_code == 1


def test_health_says_whether_loops_turn_and_cameras_see(stats: Stats, server: TelemetryServer) -> None:
    assert json.loads(get(server, "/healthz")[1])["status"] == "starting"
    code, body = get(server, "/readyz")
    assert (code, json.loads(body)["cameras"]) == (503, {'ga"te\\': "connecting"})
    stats.turn()
    stats.camera('ga"te\\').state = "online"
    assert (get(server, "/healthz")[0], get(server, "/readyz")[0]) == (200, 200)
    stats.camera("taken out").removed = True
    assert "taken out" not in json.loads(get(server, "/readyz")[1])["cameras"]
    stats.now.events_waiting = 3
    assert get(server, "/readyz")[0] == 503
    stats.now.turned_s -= STALLED_S + 1
    code, body = get(server, "/healthz")
    assert (code, json.loads(body)["status"]) == (503, "stalled")


def test_the_slowest_worker_decides_about_health() -> None:
    whole = Snapshot()
    for turned_s in (0.0, 100.0, 40.0, 90.0):
        whole.merge(Snapshot(turned_s=turned_s))
    assert whole.turned_s == 40.0
    assert not liveness(whole, now_s=40.0 + STALLED_S + 1).well
    assert liveness(whole, now_s=99.0).well


def test_connections_that_idle_hold_neither_threads_nor_the_port(
    server: TelemetryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.telemetry.server.PATIENCE_S", 3600.0)
    threads = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(200)]
    try:
        for one in idle[::3]:
            one.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert get(server, "/metrics")[0] == 200
        assert threading.active_count() <= threads
        assert len(server._open) <= MOST_CONNECTIONS
    finally:
        for one in idle:
            one.close()
    assert get(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\xff\xfe\r\n\r\n", b"405"),
        (b"GET\r\n\r\n", b"404"),
        (b"HEAD /healthz HTTP/1.0\r\n\r\n", b"200"),
        (b"x" * 100_000, b""),
    ],
)
def test_strange_requests_are_answered_or_dropped(
    server: TelemetryServer, request_: bytes, code: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        answer = b""
        try:
            connection.sendall(request_)
            answer = connection.recv(4096)
        except OSError:
            assert code == b""
        assert answer[9:12] == code
    assert get(server, "/metrics")[0] == 200


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


def drawn(snapshot: Snapshot, width: int, rows: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table(snapshot, {"gate": (15.0, 15.0)}, width, rows))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_identity_distance_and_reason_are_shown_at_any_width(width: int) -> None:
    seen = CameraCounters(state="online", people=3, last_identity="#12 unknown 1.30 below_threshold")
    reason = "rtsp://***@10.0.0.5/stream1: the camera refused the user name or password; check the URL"
    away = CameraCounters(state="offline", people=7, reason=reason)
    lines = drawn(Snapshot(cameras={"gate": seen, "yard": away}), width).splitlines()
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).split())
    assert {"#12", "unknown", "1.30", "below_threshold", "refused", "password;", "URL"} <= words
    assert re.search(r"gate +online +15\.0 .*\b3\b", lines[1])
    assert "7" not in next(line for line in lines if line.startswith("yard"))
    assert ("p95" in lines[0]) == (width >= 130)


def test_removed_cameras_go_and_cameras_at_fault_come_first() -> None:
    cameras = {f"c{index:02}": CameraCounters(state="online") for index in range(30)}
    cameras["c29"].state, cameras["c03"].removed = "offline", True
    text = drawn(Snapshot(cameras=cameras), 80, rows=10)
    assert text.splitlines()[1].startswith("c29")
    assert "c03" not in text
    assert "and 19 more cameras" in text
    for camera in cameras.values():
        camera.removed = True
    assert "all were removed" in drawn(Snapshot(cameras=cameras), 80)


def test_the_summary_says_why_and_what_to_do(stats: Stats) -> None:
    text = "\n".join(summary(stats.snapshot()))
    assert "2 tracks ended: 1 known, 1 insufficient_evidence" in text
    assert "1 x too_short: " + HINTS[Reason.TOO_SHORT] in text
    assert set(HINTS) == set(Reason)
    assert "nobody was tracked" in "\n".join(summary(Snapshot(events=Counter())))


def test_the_summary_names_cameras_without_a_picture(stats: Stats) -> None:
    blind, seen = CameraCounters(state="failed", reason="nope.mp4: no such file"), CameraCounters(decoded=30)
    waiting = CameraCounters(state="connecting")
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

"""The counters in Prometheus' text form, on a local port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gaitstream.errors import ConfigError
from gaitstream.telemetry.stats import Histogram, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FATES = ("decoded", "skipped", "dropped", "corrupt", "analysed", "abandoned")
_STATES = ("connecting", "online", "offline", "ended", "failed")


def exposition(snapshot: Snapshot) -> str:
    """A snapshot as Prometheus text, version 0.0.4."""
    return "\n".join(_lines(snapshot)) + "\n"


def _lines(snapshot: Snapshot) -> Iterator[str]:
    cameras = snapshot.cameras.items()
    yield from _family(
        "gaitstream_frames_total",
        "counter",
        "Frames by camera and fate.",
        (({"camera": c, "fate": fate}, getattr(s, fate)) for c, s in cameras for fate in _FATES),
    )
    yield from _family(
        "gaitstream_camera_state",
        "gauge",
        "1 for the state a camera is in.",
        (({"camera": c, "state": state}, int(s.state == state)) for c, s in cameras for state in _STATES),
    )
    for name, kind, text in (
        ("reconnects", "counter", "Times a camera was opened again."),
        ("person_frames", "counter", "Persons summed over the analysed frames."),
        ("encoded", "counter", "Person-frames that went through a recognizer."),
        ("windows", "counter", "Full tracklets."),
        ("tracks_ended", "counter", "Tracks that ended."),
        ("queued", "gauge", "Decoded frames that wait."),
        ("people", "gauge", "Persons in the last analysed frame."),
        ("tracks", "gauge", "Tracks under way."),
    ):
        suffix = "_total" if kind == "counter" else ""
        rows = (({"camera": c}, getattr(s, name)) for c, s in cameras)
        yield from _family(f"gaitstream_{name}{suffix}", kind, text, rows)
    for name, label, text in (
        ("rejections", "reason", "Person-frames not used, by reason."),
        ("outcomes", "status", "Ended tracks by final status."),
        ("unnamed", "reason", "Ended tracks without an identity, by reason."),
    ):
        rows = (({"camera": c, label: key}, n) for c, s in cameras for key, n in getattr(s, name).items())
        yield from _family(f"gaitstream_{name}_total", "counter", text, rows)
    fronts = [("", snapshot.front), *((c, s.front) for c, s in cameras)]
    yield from _family(
        "gaitstream_front_total",
        "counter",
        "What the GPU front end had to handle, by kind.",
        (({"camera": c, "kind": key}, n) for c, counts in fronts for key, n in counts.items()),
    )
    yield from _histograms(
        "gaitstream_latency_seconds",
        "Capture to the end of a frame's analysis.",
        [({"camera": c}, s.latency) for c, s in cameras],
        1e-3,
    )
    stages = [({"stage": name}, histogram) for name, histogram in snapshot.stages.items()]
    yield from _histograms("gaitstream_stage_seconds", "Time of one call of a stage.", stages, 1e-3)
    batches = [({"stage": name}, histogram) for name, histogram in snapshot.batches.items()]
    yield from _histograms("gaitstream_batch_size", "Items in one call of a stage.", batches, 1.0)
    events = (({"type": name}, count) for name, count in snapshot.events.items())
    yield from _family("gaitstream_events_total", "counter", "Events published.", events)
    yield from _family("gaitstream_memory_bytes", "gauge", "Resident memory.", [({}, snapshot.rss_bytes)])
    yield from _family("gaitstream_cpu_seconds_total", "counter", "CPU time.", [({}, snapshot.cpu_s)])
    yield from _family("gaitstream_uptime_seconds", "gauge", "Time since start.", [({}, snapshot.uptime_s)])


def _family(
    name: str,
    kind: str,
    text: str,
    rows: Iterable[tuple[dict[str, str], float]],
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in rows:
        yield f"{name}{_labels(labels)} {value:.15g}"


def _histograms(
    name: str, text: str, rows: list[tuple[dict[str, str], Histogram]], unit: float
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} histogram"
    for labels, histogram in rows:
        running = 0
        for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
            running += count
            yield f"{name}_bucket{_labels({**labels, 'le': f'{bound * unit:g}'})} {running}"
        yield f"{name}_bucket{_labels({**labels, 'le': '+Inf'})} {histogram.count}"
        yield f"{name}_sum{_labels(labels)} {histogram.total * unit:g}"
        yield f"{name}_count{_labels(labels)} {histogram.count}"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = (
        value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in labels.values()
    )
    return "{" + ",".join(f'{key}="{value}"' for key, value in zip(labels, escaped, strict=True)) + "}"


class MetricsServer:
    """Answers `GET /metrics` in a thread of its own.

    Args:
        host: address to listen on.
        port: 0 takes a free one, see `port` afterwards.
        take: gives the snapshot to show.

    Raises:
        ConfigError: the port is in use.
    """

    def __init__(self, host: str, port: int, take: Callable[[], Snapshot]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.partition("?")[0] in ("/metrics", "/")
                body = exposition(take()).encode() if found else b"metrics are at /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Scrapes are not news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"metrics: {host}:{port} cannot be listened on ({error.strerror}); "
                "set metrics.port to a free one"
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="gaitstream-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

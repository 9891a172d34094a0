"""The live table in a terminal, and what is said when a run has ended."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gaitstream.data import Reason
from gaitstream.telemetry.stats import CameraCounters, Histogram, Snapshot

REDRAW_S = 0.5
ROWS_AROUND = 5
"""Lines of a terminal that are not for cameras: heading, totals, a wrapped reason."""
_STATE_STYLES = {"online": "green", "offline": "bold red", "failed": "bold red", "ended": "dim"}

HINTS = {
    Reason.TOO_SHORT: "tracks end before a window fills: longer views, a higher fps, or tracklets.length",
    Reason.TOO_SMALL: "people are small: quality.min_height_px, or a camera that is nearer",
    Reason.LOW_POSE_SCORE: "the pose is unclear: quality.min_pose_score, or light and resolution",
    Reason.STANDING: "people stand: quality.min_motion",
    Reason.TRUNCATED: "people are cut by the picture's border: aim the camera so that whole bodies are seen",
    Reason.OCCLUDED: "people cover each other: quality.max_overlap",
    Reason.BLURRED: "the picture is blurred: quality.min_sharpness, or shutter and focus",
    Reason.NO_SILHOUETTE: "the segmentation model finds nobody: models.segmenter, its layout and person",
    Reason.LEGS_HIDDEN: "legs are hidden, as behind a counter: a higher mount, or regions without it",
    Reason.TOO_DARK: "people are too dark: light, or the camera's exposure, gain or infrared mode",
    Reason.OUTSIDE_REGION: "people walk outside the regions of interest: cameras[].regions",
    Reason.ID_SWITCH_SUSPECTED: "boxes jump: a higher fps, or quality.max_jump",
    Reason.SPACED: "tracklets.every leaves frames out",
    Reason.SETTLED: "their identity is sure, and tracklets.settled_every leaves frames out",
    Reason.OVERLOAD: "the machine could not do all within runtime.latency_ms: fewer cameras or a lower fps",
    Reason.REJECTED: "somebody said that this is another person: gaitstream gallery visitors",
    Reason.NO_RECOGNIZER: "no model looks at their gait: models.recognizers",
    Reason.NO_GALLERY: "nobody is enrolled: gaitstream enroll, and gallery.path",
    Reason.BELOW_THRESHOLD: "near somebody, but not near enough: enrol them with more walks, or "
    "gallery.threshold",
    Reason.AMBIGUOUS: "two people are about as near: more templates each, or gallery.margin",
}
"""Where to look when tracks stay without an identity, by reason."""
FAR_HINT = "far from everybody who is enrolled: strangers, most likely; if not, enrol them on these cameras"
"""The same for `below_threshold` where no threshold would help."""


_WHY_BLIND = {"connecting": "the run was stopped before it answered", "ended": "it ended before one came"}
"""By state, where a camera gave no reason."""


class Rates:
    """Frames per second from successive snapshots."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, int]] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def update(self, snapshot: Snapshot) -> dict[str, tuple[float, float]]:
        """Decoded and analysed frames per second by camera, over about the last two seconds."""
        for name, camera in snapshot.cameras.items():
            last = self._last.get(name)
            if last is None or snapshot.uptime_s - last[0] >= 2.0:
                if last is not None:
                    elapsed_s = snapshot.uptime_s - last[0]
                    self._rates[name] = (
                        (camera.decoded - last[1]) / elapsed_s,
                        (camera.analysed - last[2]) / elapsed_s,
                    )
                self._last[name] = (snapshot.uptime_s, camera.decoded, camera.analysed)
        return self._rates


def table(
    snapshot: Snapshot, rates: dict[str, tuple[float, float]], width: int = 160, rows: int = 100
) -> Group:
    """The live view: one row per camera, one line of totals.

    Args:
        snapshot: what to show.
        rates: decoded and analysed frames per second by camera.
        width: of the terminal in characters; what does not fit is left out, the least telling columns first.
        rows: most cameras shown; those at fault come first.
    """
    shown = {name: camera for name, camera in snapshot.cameras.items() if not camera.removed}
    if not shown:
        return Group(Text("no camera: all were removed from the file, or none is open yet", "yellow"))
    names = list(shown)
    if len(names) > rows:
        names = sorted(names, key=lambda name: shown[name].state == "online")[:rows]
    headings = [heading for heading, least in _COLUMNS.items() if width >= least]
    view = Table(expand=True, box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        left = heading in ("camera", "state")
        most = 16 if heading == "camera" else None
        view.add_column(heading, justify="left" if left else "right", no_wrap=True, max_width=most)
    view.add_column("last identity", ratio=1, overflow="fold")
    for name in names:
        cells = _cells(name, shown[name], rates.get(name, (0.0, 0.0)))
        view.add_row(*(cells[heading] for heading in headings), _last(shown[name]))
    parts: list[Table | Text] = [view]
    if len(names) < len(shown):
        parts.append(Text(f"and {len(shown) - len(names)} more cameras", style="dim"))
    line = Text(totals(snapshot, short=width < 100), style="dim", no_wrap=True, overflow="ellipsis")
    return Group(*parts, line)


_COLUMNS = {
    "camera": 0, "state": 0, "fps in": 110, "fps": 0, "dropped": 100, "people": 0, "tracks": 100,
    "ended": 110, "p50": 130, "p95 ms": 130,
}  # fmt: skip
"""Headings with the narrowest terminal that has room for them. The last identity, with distance and reason,
takes what is left and is never dropped."""


def _cells(name: str, camera: CameraCounters, rates: tuple[float, float]) -> dict[str, str | Text]:
    """A camera's values by heading; of one that is away there are none of the moment."""
    here = camera.state == "online"
    return {
        "camera": name,
        "state": Text(camera.state, style=_STATE_STYLES.get(camera.state, "yellow")),
        "fps in": f"{rates[0]:.1f}" if here else "-",
        "fps": f"{rates[1]:.1f}" if here else "-",
        "dropped": str(camera.dropped),
        "people": str(camera.people) if here else "-",
        "tracks": str(camera.tracks) if here else "-",
        "ended": str(camera.tracks_ended),
        "p50": _ms(camera, 0.5),
        "p95 ms": _ms(camera, 0.95),
    }


def _ms(camera: CameraCounters, share: float) -> str:
    value = camera.latency.quantile(share)
    return "-" if value is None else f"{value:.0f}"


_URL_PREFIX = re.compile(r"^\S+://\S+: ")


def _last(camera: CameraCounters) -> Text:
    """Why a camera is away, else who was seen last."""
    if camera.reason:
        return Text(_URL_PREFIX.sub("", camera.reason), style="red")
    return Text(camera.last_identity)


def totals(snapshot: Snapshot, *, short: bool = False) -> str:
    """One line about the whole process; when short, for 80 characters."""
    cameras = snapshot.cameras.values()
    analysed = sum(camera.analysed for camera in cameras)
    persons = sum(camera.person_frames for camera in cameras)
    people = "" if short else f"{persons} person-frames   "
    return (
        f"{snapshot.uptime_s:.0f} s   {analysed} frames   {people}"
        f"{sum(snapshot.events.values())} events   event p50/p95 {_quantiles(snapshot.event_latency)} ms   "
        f"{snapshot.rss_bytes / 2**20:.0f} MiB"
    )


def summary(snapshot: Snapshot) -> list[str]:
    """What to say when a run has ended: totals, and for what stayed without identity, why and what to do."""
    cameras = snapshot.cameras.values()
    outcomes = _sum(camera.outcomes for camera in cameras)
    unnamed = _sum(camera.unnamed for camera in cameras)
    ended = sum(camera.tracks_ended for camera in cameras)
    listed = ", ".join(f"{count} {status}" for status, count in outcomes.items())
    lines = [totals(snapshot), f"{ended} tracks ended" + (f": {listed}" if listed else "")]
    lines += _blind(snapshot)
    if not ended and not _saw_nothing(snapshot):
        lines.append("nobody was tracked: is somebody in the picture, and models.detector.score low enough?")
    far = sum(camera.far for camera in cameras)
    for reason, count in sorted(unnamed.items(), key=lambda item: -item[1]):
        near = count - far if reason == Reason.BELOW_THRESHOLD else count
        if near:
            lines.append(f"  {near} x {reason}: {HINTS[Reason(reason)]}")
        if near < count:
            lines.append(f"  {far} x {reason}: {FAR_HINT}")
    return lines


def _blind(snapshot: Snapshot) -> list[str]:
    """A line for each camera that gave no picture, with the reason."""
    return [
        f"no picture came from camera {name}: {camera.reason or _WHY_BLIND.get(camera.state, camera.state)}"
        for name, camera in snapshot.cameras.items()
        if not _gave_pictures(camera)
    ]


def _saw_nothing(snapshot: Snapshot) -> bool:
    """Whether there are cameras, and none of them gave a picture."""
    cameras = snapshot.cameras.values()
    return bool(cameras) and not any(_gave_pictures(camera) for camera in cameras)


def _gave_pictures(camera: CameraCounters) -> bool:
    return bool(camera.decoded or camera.analysed)


class LiveTable:
    """Redraws the table twice a second in a thread of its own.

    Args:
        console: where to draw.
        take: gives the snapshot to show.
    """

    def __init__(self, console: Console, take: Callable[[], Snapshot]) -> None:
        self._console = console
        self._take = take
        self._rates = Rates()
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="gaitstream-table", daemon=True)

    def start(self) -> None:
        """Begin drawing."""
        self._live.start()
        self._thread.start()

    def close(self) -> None:
        """Draw once more and leave the last table standing."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # the terminal was closed
            self._redraw()
            self._live.stop()

    def _draw(self) -> None:
        while not self._stop.wait(REDRAW_S):
            try:
                self._redraw()
            except OSError:  # the terminal was closed
                return

    def _redraw(self) -> None:
        snapshot = self._take()
        size = self._console.size
        view = table(snapshot, self._rates.update(snapshot), size.width, max(1, size.height - ROWS_AROUND))
        self._live.update(view, refresh=True)


def _quantiles(histogram: Histogram) -> str:
    p50, p95 = histogram.quantile(0.5), histogram.quantile(0.95)
    return "-" if p50 is None or p95 is None else f"{p50:.0f}/{p95:.0f}"


def _sum(counts: Any) -> dict[str, int]:
    out: dict[str, int] = {}
    for one in counts:
        for key, count in one.items():
            out[key] = out.get(key, 0) + count
    return out

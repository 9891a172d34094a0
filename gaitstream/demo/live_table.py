"""What the terminal shows during the live run: who was recognised on which camera, and the cameras.

Both tables fit into 80 x 24 characters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gaitstream.data import Decision, Status
from gaitstream.demo.ground_truth import GroundTruthObserver
from gaitstream.telemetry.display import Rates
from gaitstream.telemetry.stats import Histogram, Snapshot

REDRAW_S = 0.5


def people_table(
    people: Sequence[tuple[str, bool]], cameras: Sequence[str], latest: dict[tuple[str, str], Decision]
) -> Table:
    """A row per person of the world, a column per camera with the last word on them there.

    Args:
        people: names and whether they are enrolled.
        cameras: ids.
        latest: last decision by person and camera.
    """
    view = Table(box=None, header_style="bold", pad_edge=False)
    view.add_column("truly", no_wrap=True, width=6)
    view.add_column("", no_wrap=True)
    for camera in cameras:
        view.add_column(camera, no_wrap=True, width=20)
    for name, enrolled in people:
        cells = [_cell(name, enrolled, latest.get((name, camera))) for camera in cameras]
        view.add_row(name, Text("enrolled" if enrolled else "stranger", style="dim"), *cells)
    return view


def _cell(name: str, enrolled: bool, decision: Decision | None) -> Text:
    """A mark, what was said, and the distance to the nearest enrolled person."""
    if decision is None:
        return Text("·", style="dim")
    near = f" {decision.distance:.2f}" if decision.distance is not None else ""
    if decision.status is Status.KNOWN:
        right = decision.person == name
        return Text(f"{'✓' if right else '✗'} {decision.person}{near}", "green" if right else "bold red")
    if decision.status is Status.INSUFFICIENT:
        said = decision.reason.value if decision.reason else decision.status.value
        return Text(f"· {said.replace('_', ' ')}", style="dim")
    mark, style = ("·", "yellow") if enrolled else ("✓", "cyan")
    return Text(f"{mark} {decision.status.value}{near}", style)


def cameras_table(snapshot: Snapshot, rates: dict[str, tuple[float, float]]) -> Table:
    """A row per camera: rates, losses and latency."""
    view = Table(box=None, header_style="bold", pad_edge=False)
    view.add_column("camera", no_wrap=True)
    for heading in ("frames/s", "analysed", "dropped", "people", "latency p50", "p95"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, camera in sorted(snapshot.cameras.items()):
        view.add_row(
            name,
            f"{rates.get(name, (0.0, 0.0))[1]:.1f}",
            str(camera.analysed),
            str(camera.dropped),
            str(camera.people),
            _ms(camera.latency, 0.5),
            _ms(camera.latency, 0.95),
        )
    return view


def _ms(histogram: Histogram, share: float) -> str:
    value = histogram.quantile(share)
    return "-" if value is None else f"{value:.0f} ms"


class LiveTables:
    """Redraws both tables twice a second in a thread of its own; prints nothing where there is no terminal.

    Args:
        console: where to draw.
        people: names and whether they are enrolled.
        cameras: ids.
        ground_truth: knows the last words.
        take: gives the counters.
    """

    def __init__(
        self,
        console: Console,
        people: Sequence[tuple[str, bool]],
        cameras: Sequence[str],
        ground_truth: GroundTruthObserver,
        take: Callable[[], Snapshot],
    ) -> None:
        self._people, self._cameras = people, cameras
        self._ground_truth, self._take = ground_truth, take
        self._rates = Rates()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="demo-table", daemon=True)

    def __enter__(self) -> LiveTables:
        if self._live is not None:
            self._live.start()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._live is not None:
            self._thread.join()
            self._live.update(self._render(), refresh=True)
            self._live.stop()

    def _draw(self) -> None:
        while self._live is not None and not self._stop.wait(REDRAW_S):
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        snapshot = self._take()
        decided = _ms(snapshot.event_latency, 0.5)
        totals = (
            f"{self._ground_truth.last_s:.0f} s, {sum(snapshot.events.values())} events, "
            f"decided and published {decided} after a window's last frame (median)"
        )
        return Group(
            people_table(self._people, self._cameras, dict(self._ground_truth.latest)),
            Text("✓ right   ✗ wrong name   · no name   number: distance to the nearest enrolled", "dim"),
            Text(""),
            cameras_table(snapshot, self._rates.update(snapshot)),
            Text(totals, style="dim"),
        )

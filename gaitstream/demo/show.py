"""What the terminal shows during the live run: who was recognised on which camera, and the cameras."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gaitstream.demo.referee import Referee
from gaitstream.pipeline.data import Decision, Status
from gaitstream.pipeline.display import Rates, table
from gaitstream.pipeline.stats import Snapshot

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
    view = Table(expand=True, box=None, header_style="bold", pad_edge=False)
    view.add_column("truly", no_wrap=True)
    view.add_column("", no_wrap=True)
    for camera in cameras:
        view.add_column(camera, no_wrap=True, ratio=1)
    for name, enrolled in people:
        cells = [_cell(name, latest.get((name, camera))) for camera in cameras]
        view.add_row(name, Text("enrolled" if enrolled else "stranger", style="dim"), *cells)
    return view


def _cell(name: str, decision: Decision | None) -> Text:
    if decision is None:
        return Text("-", style="dim")
    near = f" {decision.distance:.2f}" if decision.distance is not None else ""
    if decision.status is Status.KNOWN:
        mark = "✓ " if decision.person == name else "✗ "
        return Text(
            f"{mark}{decision.person}{near}", style="green" if decision.person == name else "bold red"
        )
    why = f" ({decision.reason.value})" if decision.reason else ""
    return Text(f"{decision.status.value}{why}{near}", style="cyan")


class Show:
    """Redraws both tables twice a second in a thread of its own; prints nothing where there is no terminal.

    Args:
        console: where to draw.
        people: names and whether they are enrolled.
        cameras: ids.
        referee: knows the last words.
        take: gives the counters.
    """

    def __init__(
        self, console: Console, people: Sequence[tuple[str, bool]], cameras: Sequence[str], referee: Referee,
        take: Callable[[], Snapshot],
    ) -> None:  # fmt: skip
        self._people, self._cameras = people, cameras
        self._referee, self._take = referee, take
        self._rates = Rates()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="demo-table", daemon=True)

    def __enter__(self) -> Show:
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
        words = dict(self._referee.latest)
        return Group(
            people_table(self._people, self._cameras, words),
            Text(""),
            table(snapshot, self._rates.update(snapshot)),
        )

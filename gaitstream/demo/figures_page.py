"""The report's figures as a page of the console."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from gaitstream.console.access import EventReader
from gaitstream.console.further import FurtherPage
from gaitstream.console.menu import MenuPage
from gaitstream.console.permissions import Permission
from gaitstream.console.rendering import render
from gaitstream.demo.record import DemoRecord
from gaitstream.demo.report import figures


def figures_page(record: DemoRecord) -> FurtherPage:
    """The page of a demo's figures, for the menu of its console."""
    router = APIRouter()

    @router.get("/demo")
    def show(request: Request, _: EventReader) -> Response:
        return render(request, "demo_figures.html", None, **figures(record))

    return FurtherPage(
        MenuPage("demo", "d", Permission.EVENTS_READ), router, Path(__file__).parent / "templates"
    )

"""Pages that others add to a console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from gaitstream.console.menu import MenuPage


@dataclass(frozen=True)
class FurtherPage:
    """A page beside the console's own.

    Attributes:
        menu: its entry.
        router: what answers.
        templates: folder of its templates.
    """

    menu: MenuPage
    router: APIRouter
    templates: Path

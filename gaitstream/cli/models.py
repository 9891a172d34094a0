"""Commands of the group models."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitstream.cli import building, doctor, evaluating, exporting, fetching, quantising

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    fetching.add(commands)
    exporting.add(commands)
    quantising.add(commands)
    building.add(commands)
    evaluating.add(commands)
    doctor.add(commands)

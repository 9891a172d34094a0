"""What the DeepStream process is told when its cameras change."""

from __future__ import annotations

from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes
from gaitstream.deepstream.graph import uri_of
from gaitstream.deepstream.spec import Command


def change_commands(before: Config, after: Config, changes: Changes) -> list[Command]:
    """The way from one configuration to the next."""
    return [
        *(Command(do="retune", camera=id_, fps=after.camera(id_).fps) for id_ in changes.adjusted),
        *(remove_command(before, id_) for id_ in (*changes.removed, *changes.reopened)),
        *(add_command(after, id_) for id_ in (*changes.added, *changes.reopened)),
    ]


def revive_commands(config: Config, camera: str) -> list[Command]:
    """Take a silent camera out and put it in again."""
    return [remove_command(config, camera), add_command(config, camera)]


def add_command(config: Config, camera: str) -> Command:
    """Add a camera."""
    entry = config.camera(camera)
    return Command(do="add", camera=camera, uri=uri_of(entry), fps=entry.fps)


def remove_command(config: Config, camera: str) -> Command:
    """Remove a camera. The process knows the URL it was added with."""
    return Command(do="remove", camera=camera, uri=uri_of(config.camera(camera)))

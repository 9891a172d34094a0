"""Releases of gaitstream in environments of their own: an older one, this checkout, and the one after it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.installed import ROOT, build_wheel, install
from gaitstream.kernels.build import runnable_levels

COMMAND_S = 300.0
LATER = "0.2.0"
"""Version of the release with the newer schema."""


@dataclass(frozen=True)
class Release:
    """One release, installed.

    Attributes:
        name: in the names of its nodes.
        python: its interpreter.
    """

    name: str
    python: Path

    def command(self, *words: str) -> list[str]:
        """A command line of this release."""
        return [str(self.python), "-m", "gaitstream", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command of this release does and says."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=COMMAND_S
        )

    def package(self) -> Path:
        """Where its package lies.

        Raises:
            RuntimeError: that is not in its own environment.
        """
        words = [str(self.python), "-c", "import gaitstream; print(gaitstream.__file__)"]
        found = Path(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip())
        if self.python.parents[1] not in found.parents:
            raise RuntimeError(f"{self.name} runs the package of {found}")
        return found.parent


def install_releases(old: str, folder: Path) -> tuple[Release, Release, Release]:
    """The older revision, this checkout, and this checkout with a schema that is one further."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", old], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    level = runnable_levels()[0].name  # compiling for other machines takes minutes
    wheel = build_wheel(folder / "new-wheel", level)
    older = build_wheel(folder / "old-wheel", level, source)
    releases = (
        Release("old", install(older, folder / "old")),
        Release("new", install(wheel, folder / "new")),
        Release("later", install(wheel, folder / "later")),
    )
    for release in releases[:2]:
        release.package()
    _bring_newer_schema(releases[2].package())
    return releases


def _bring_newer_schema(package: Path) -> None:
    """What the next release would do: a version, and a migration that adds a column."""
    tables, version = package / "fleet" / "tables.py", package / "__init__.py"
    migration = 'MIGRATIONS += ("ALTER TABLE fleet.camera ADD COLUMN note TEXT",)\n'
    tables.write_text(tables.read_text().replace("SCHEMA = len(", f"{migration}SCHEMA = len("))
    words = version.read_text().splitlines()
    changed = [f'__version__ = "{LATER}"' if word.startswith("__version__") else word for word in words]
    version.write_text("\n".join(changed))

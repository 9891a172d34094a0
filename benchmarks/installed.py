"""Is the package as fast installed as built: alignment and crops with and without a compiler, side by side.

    python -m benchmarks.installed [--wheel FILE] [--levels] [--out FILE]

The wheel, made here unless it is given, goes into fresh environments; one keeps its kernels and has no
compiler (an empty PATH, home and cache), one has lost them and has the compiler, one has neither. --levels
adds one for each instruction set whose library the wheel carries. Turns alternate, the least time counts.
"""

from __future__ import annotations

import argparse
import os
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.installed_process import Measured
from gaitstream.kernels.build import runnable_levels
from gaitstream.kernels.recipe import cpu_file

ROOT = Path(__file__).resolve().parent.parent
PROCESS = Path(__file__).with_name("installed_process.py")
TURNS = 3


@dataclass(frozen=True)
class Place:
    """Somewhere the package is installed.

    Attributes:
        name: in the table.
        python: its interpreter.
        environment: of its processes.
    """

    name: str
    python: Path
    environment: Mapping[str, str]

    def measure(self) -> Measured:
        """Run the measuring process there."""
        done = subprocess.run(
            [self.python, PROCESS], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr}")
        return msgspec.json.decode(done.stdout, type=Measured)


def build_wheel(out: Path, kernels: str = "cpu", source: Path = ROOT) -> Path:
    """Make the wheel of a checkout with `kernels` in it, see hatch_build.py; needs hatchling here."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    environment = os.environ | {"GAITSTREAM_WHEEL_KERNELS": kernels}
    subprocess.run([*pip, "--wheel-dir", out, source], env=environment, check=True)
    return next(out.glob("gaitstream-*.whl"))


def install(wheel: Path, folder: Path, keep: Collection[str] | None = None) -> Path:
    """Install a wheel into a fresh environment that sees this one's other packages.

    Args:
        wheel: the file.
        folder: of the new environment.
        keep: names of the compiled kernels that stay; None for all.

    Returns:
        The environment's interpreter.
    """
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, wheel], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    for path in packages.glob("gaitstream/kernels/prebuilt/*"):
        if keep is not None and path.name not in keep:
            path.unlink()
    return python


def without_compiler(folder: Path) -> dict[str, str]:
    """An environment in which nothing is found, and nothing is kept from before."""
    folder.mkdir()
    return {"PATH": str(folder), "HOME": str(folder), "GAITSTREAM_CACHE": str(folder / "cache")}


def places(wheel: Path, folder: Path) -> list[Place]:
    """With its kernels and no compiler, without them and with one, and with neither."""
    nothing = without_compiler(folder / "empty")
    compiler = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    bare = install(wheel, folder / "bare", keep=[])
    return [
        Place("wheel, no compiler", install(wheel, folder / "wheel"), nothing),
        Place("compiled at first use", bare, compiler),
        Place("neither", bare, nothing),
    ]


def level_places(wheel: Path, folder: Path) -> list[Place]:
    """The wheel with the library of one instruction set left, for each that this CPU runs."""
    nothing = without_compiler(folder / "nothing")
    return [
        Place(f"{level.name} alone", install(wheel, folder / level.name, keep=[cpu_file(level)]), nothing)
        for level in runnable_levels()
    ]


def best_of(places: Sequence[Place], turns: int = TURNS) -> dict[str, Measured]:
    """Each place's least times, with the turns of all alternating."""
    found: dict[str, list[Measured]] = {place.name: [] for place in places}
    for _ in range(turns):
        for place in places:
            found[place.name].append(place.measure())
    return {
        name: Measured(
            kernels=runs[0].kernels,
            align_us=min(run.align_us for run in runs),
            crop_us=min(run.crop_us for run in runs),
            off=max(run.off for run in runs),
        )
        for name, runs in found.items()
    }


def table(results: Mapping[str, Measured]) -> str:
    """The results in Markdown."""
    lines = [
        "| | align, us a frame | crop, us a person | off from numpy | kernels |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one.align_us:.1f} | {one.crop_us:.1f} | {one.off:.1g} | {one.kernels} |"
        for name, one in results.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.installed", description=__doc__)
    parser.add_argument("--wheel", type=Path, help="the wheel; else it is made")
    parser.add_argument("--levels", action="store_true", help="each instruction set's library alone, too")
    parser.add_argument("--out", type=Path, help="write the results there, as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-installed-") as name:
        folder = Path(name)
        wheel = chosen.wheel or build_wheel(folder)
        rows = places(wheel, folder) + (level_places(wheel, folder) if chosen.levels else [])
        results = best_of(rows)
    print(table(results))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_bytes(msgspec.json.encode(results))


if __name__ == "__main__":
    main()

"""The packaged models by name and kind, and their checksums."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import msgspec

from gaitstream.errors import ConfigError

Kind = Literal["detector", "pose", "gaitheat", "biggait"]
PATH_ENDINGS = (".onnx", ".json", ".yaml", ".yml")
CHECKSUMS = "checksums.json"
ADVICE = "advice.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One packaged model."""

    name: str
    kind: Kind
    path: str
    """Manifest or bundle directory, relative to `zoo/demo`."""
    card: str
    """Its model card, relative to `zoo/demo`."""
    summary: str


ENTRIES: tuple[Entry, ...] = (
    Entry("demo", "detector", "detector.json", "detector.md", "persons in the synthetic world, 320 x 192"),
    Entry("demo", "pose", "pose.json", "pose.md", "COCO joints' heatmaps in the synthetic world"),
    Entry("demo", "gaitheat", "gaitheat", "gaitheat.md", "GaitHeat at reduced width, synthetic walkers"),
)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What the calibration on a crowd of its own recommends for the demo recognizer."""

    threshold: float
    """Largest distance at which somebody is taken for an enrolled person."""
    margin: float
    """Least lead over the second person."""
    fpir: float
    """Share of strangers who are given a name at that threshold, among the calibration's searches."""
    fingerprint: str
    """Of the bundle it holds for."""


def demo_folder() -> Path:
    """Where the demo weights lie."""
    return Path(__file__).parent / "demo"


def resolve(name_or_path: str | Path, kind: str) -> Path:
    """The file or directory of a model.

    Args:
        name_or_path: the name of a packaged model, or a path of your own: an ONNX file, its manifest, or a
            bundle directory.
        kind: `detector`, `pose`, `gaitheat` or `biggait`.

    Returns:
        A detector's or a pose model's manifest, a recognizer's bundle directory, or the path as given.

    Raises:
        ConfigError: no such name or path, or a packaged file was changed.
    """
    if kind not in get_args(Kind):
        near = _near(kind, get_args(Kind))
        raise ConfigError(f"there is no kind of model {kind!r}{near}; allowed: {', '.join(get_args(Kind))}")
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith(PATH_ENDINGS):
        path = Path(name_or_path)
        if not path.exists():
            raise ConfigError(f"{kind} {path} does not exist; give an ONNX file, a manifest or a bundle")
        return path
    names = [entry.name for entry in ENTRIES if entry.kind == kind]
    entry = next((e for e in ENTRIES if e.kind == kind and e.name == text), None)
    if entry is None:
        if not names:
            raise ConfigError(
                f"no {kind} weights ship with gaitstream, so {text!r} names none: export a checkpoint with "
                f"'gaitstream export {kind}' and give the bundle's path"
            )
        raise ConfigError(
            f"no packaged {kind} is called {text!r}{_near(text, names)}; there is {', '.join(names)}; "
            "a path contains a slash or ends in .onnx"
        )
    _verify(demo_folder())
    return demo_folder() / entry.path


def advice() -> Advice:
    """The recommended threshold and margin of the demo recognizer.

    Raises:
        ConfigError: the packaged file is missing or damaged.
    """
    path = demo_folder() / ADVICE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Advice)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); it holds {', '.join(Advice.__struct_fields__)}: install "
            "gaitstream again, or set gallery.threshold and gallery.margin yourself"
        ) from error


@lru_cache(maxsize=4)
def _verify(folder: Path) -> None:
    """Compare every packaged file with its checksum, once per process."""
    listed = msgspec.json.decode((folder / CHECKSUMS).read_bytes(), type=dict[str, str])
    for name, expected in listed.items():
        path = folder / name
        actual = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if actual != expected:
            raise ConfigError(
                f"the packaged model file {path} is {actual[:12]}, expected {expected[:12]}: "
                "it was changed or damaged; install gaitstream again"
            )


def _near(value: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(value, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""

"""Models by name and kind, verified: the package's own, other packages', and those that were fetched."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from gaitstream.errors import ConfigError
from gaitstream.registry import Registry
from gaitstream.zoo.catalogue import CatalogueModel, catalogue, look_up
from gaitstream.zoo.fetched import command, find_fetched

Kind = Literal["detector", "pose", "segmenter", "recognizer"]
CHECKSUMS = "checksums.json"
ADVICE = "advice.json"


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One packaged model."""

    name: str
    kind: Kind
    path: str
    """Manifest or bundle directory: relative to `zoo/demo`, or absolute where another package brings it."""
    card: str
    """Its model card, likewise."""
    summary: str
    family: str = ""
    """Of a recognizer."""
    licence: str = "Apache-2.0"
    advice: str = ""
    """File of what is recommended for a recognizer in the demo, likewise; see `advice`."""


ENTRIES: tuple[ZooEntry, ...] = (
    ZooEntry("demo", "detector", "detector.json", "detector.md", "persons in the synthetic world, 320 x 192"),
    ZooEntry("demo", "pose", "pose.json", "pose.md", "COCO joints' heatmaps in the synthetic world"),
    ZooEntry("demo", "segmenter", "segmenter.json", "segmenter.md", "people's masks in the synthetic world"),
    ZooEntry(
        "demo",
        "recognizer",
        "gaitheat",
        "gaitheat.md",
        "narrow GaitHeat, synthetic walkers",
        "gaitheat",
        advice=ADVICE,
    ),
    ZooEntry(
        "demo",
        "recognizer",
        "gaitbase",
        "gaitbase.md",
        "narrow GaitBase, synthetic walkers",
        "gaitbase",
        advice=ADVICE,
    ),
)

BROUGHT: Registry[ZooEntry] = Registry("model", "gaitstream.weights", {}, is_a=ZooEntry)
"""Models of other packages."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What the calibration on a crowd of its own recommends for a demo recognizer, or for several, fused."""

    threshold: float
    """Largest distance at which somebody is taken for an enrolled person; of several recognizers, in units of
    each one's own."""
    margin: float
    """Least lead over the second person."""
    gain: float = 0.0
    """How much larger the threshold grows with windows that share no frame, as a share of it."""
    fpir: float
    """Share of strangers who are given a name at that threshold, among the calibration's searches."""
    fingerprint: str
    """Of the bundle it holds for; of several, joined by `+`."""
    weight: float = 1.0
    """Its share beside other recognizers."""


def demo_folder() -> Path:
    """Where the demo weights lie."""
    return Path(__file__).parent / "demo"


def entries(kind: Kind | None = None, family: str = "") -> Iterator[ZooEntry]:
    """Packaged models, other packages' last: all that can be loaded, or those of a kind, or of a family."""
    for one in chain(ENTRIES, (entry for _, entry in BROUGHT.usable())):
        if kind in (None, one.kind) and family in ("", one.family):
            yield one


def names(kind: Kind, family: str = "") -> list[str]:
    """Names of the packaged models of a kind, of one family where it is given."""
    return list(dict.fromkeys(one.name for one in entries(kind, family)))


def demo_families() -> tuple[str, ...]:
    """The families of the demo's recognizers, which are their keys in a configuration; the demo's first."""
    return tuple(one.family for one in ENTRIES if one.kind == "recognizer")


def advised() -> dict[str, ZooEntry]:
    """The recognizers that the demo can run, by family: its own first, then those of other packages."""
    return {one.family: one for one in entries("recognizer") if one.advice}


def demo_family() -> str:
    """The family of the demo's recognizer."""
    return demo_families()[0]


def find(name: str, kind: Kind, family: str = "") -> Path:
    """The file or directory of a packaged or fetched model, its checksum verified.

    Args:
        name: of one of the `entries`, or in the catalogue.
        kind: what it should be.
        family: of a recognizer, where only one family will do.

    Returns:
        A network's manifest or a recognizer's bundle directory.

    Raises:
        ConfigError: no such name, one that was not fetched, or a packaged file was changed.
        ZooError: a fetched file was changed.
    """
    entry = next((one for one in entries(kind, family) if one.name == name), None)
    if entry is None:
        model = look_up(name)
        if model is None and name in BROUGHT.names():
            BROUGHT.get(name)  # says what is wrong with it, where something is
        if model is None or model.task != kind:
            raise ConfigError(_no_such(name, kind, family, names(kind, family), model))
        return find_fetched(model)
    if entry in ENTRIES:
        _verify(demo_folder())
    return demo_folder() / entry.path


def advice(*families: str) -> Advice:
    """The recommended threshold and margin of a packaged recognizer, or of several that are fused.

    Args:
        families: which; the demo's where none is named.

    Raises:
        ConfigError: the packaged file is missing or damaged, or has nothing for these.
    """
    key = "+".join(sorted(families)) or demo_family()
    found: dict[str, Advice] = {}
    for one in advised().values():
        if one.family in found:
            continue
        path = demo_folder() / one.advice
        try:
            held = msgspec.json.decode(path.read_bytes(), type=dict[str, Advice])
            found |= {**held, one.family: held[one.family]}
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{path} cannot be read ({error}); it holds {', '.join(Advice.__struct_fields__)} of "
                f"{one.family}: install gaitstream again, or set gallery.threshold and gallery.margin "
                "yourself"
            ) from error
    if key not in found:
        raise ConfigError(
            f"nothing is recommended for {key.replace('+', ' with ')}; there is advice for "
            f"{', '.join(one.replace('+', ' with ') for one in found)}: choose of these, or set "
            "gallery.threshold and gallery.margin yourself"
        )
    return found[key]


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


def _no_such(name: str, kind: Kind, family: str, known: list[str], model: CatalogueModel | None) -> str:
    what = family or kind
    if model is not None:
        return _misplaced(model, what)
    fetchable = [one.name for one in catalogue() if one.task == kind]
    close = difflib.get_close_matches(name, known + fetchable, 1)
    near = f" (did you mean {close[0]!r}?)" if close else ""
    fetch = f"; 'gaitstream models get' fetches {', '.join(fetchable)}" if fetchable else ""
    if known:
        return (
            f"no packaged {what} is called {name!r}{near}; there is {', '.join(known)}{fetch}; "
            "a path contains a slash or ends in .onnx"
        )
    if kind == "recognizer":
        return (
            f"no {what} weights ship with gaitstream, so {name!r} names none: export a checkpoint with "
            f"'gaitstream export {family}' and give the bundle's path"
        )
    return (
        f"no {what} ships with gaitstream, so {name!r} names none{near}{fetch}; or give the path of an "
        "ONNX file"
    )


def _misplaced(model: CatalogueModel, wanted: str) -> str:
    """What a name of the catalogue is, where something else was asked for."""
    usage = model.usage.format(path="FILE")
    then = f"; then: {usage}, and the bundle's path here" if usage else ""
    return f"{model.name!r} is a {model.task}, not a {wanted}: {command(model)} fetches it{then}"

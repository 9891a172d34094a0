"""The one place where a name or a path becomes a model: detector, pose model, segmenter or recognizer.

A value is a path when it holds a slash or ends as a model file does, and a name of the model zoo otherwise. A
network is an ONNX file with a small YAML or JSON manifest of the same name beside it, either of which may be
given, or a directory that holds a manifest named after its kind, `segmenter.json` say; a recognizer is the
directory of a bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import msgspec

from gaitstream import zoo
from gaitstream.errors import ConfigError
from gaitstream.models.bundle import MANIFEST, Bundle
from gaitstream.zoo import Kind

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
PATH_SUFFIXES = (".onnx", *MANIFEST_SUFFIXES)


class NetworkContract(Protocol):
    """What the manifests of networks share."""

    __struct_fields__: ClassVar[tuple[str, ...]]

    @property
    def graph(self) -> str:
        """File name of the ONNX graph, beside the manifest."""


C = TypeVar("C", bound=NetworkContract)


def is_path(model: str | Path) -> bool:
    """Whether a value is a path; otherwise it is a name of the model zoo."""
    return isinstance(model, Path) or "/" in model or model.endswith(PATH_SUFFIXES)


def resolve(model: str | Path, kind: Kind, *, family: str = "") -> Path:
    """The file or directory of a model.

    Args:
        model: the name of a packaged model, or a path of your own: an ONNX file, its manifest, or a bundle.
        kind: what it should be.
        family: of a recognizer, where only one family will do.

    Returns:
        A network's manifest, a recognizer's bundle directory, or the path as given.

    Raises:
        ConfigError: no such name or path, or a packaged file was changed.
    """
    if not is_path(model):
        return zoo.find(str(model), kind, family)
    path = Path(model)
    if not path.exists():
        what = "a bundle's directory" if kind == "recognizer" else "an ONNX file or its manifest"
        raise ConfigError(
            f"{family or kind} {path} does not exist; give {what}, or a name of the model zoo"
            f"{_packaged(kind, family)}"
        )
    return path


def find_bundle(model: str | Path, *, family: str = "", verify: bool = True) -> Bundle:
    """The bundle of a recognizer.

    Args:
        model: as for `resolve`.
        family: which it has to be of, for a recognizer that a configuration names after one; see
            `config.models_section.Models.family`.
        verify: see `Bundle.open`.

    Raises:
        ConfigError: no such name or path, or a bundle of another family.
        BundleError: it is incomplete or was edited.
    """
    bundle = Bundle.open(resolve(model, "recognizer", family=family), verify=verify)
    found = bundle.manifest.model
    if family and found != family:
        raise ConfigError(
            f"models.{family}: {model} is a bundle of {found}; give it as models.{found}, or a bundle of "
            f"{family} here"
        )
    return bundle


def find_network(model: str | Path, kind: Kind, contract: type[C]) -> tuple[Path, C | None]:
    """The graph of a network and its manifest, if it has one.

    Args:
        model: as for `resolve`.
        kind: what it should be.
        contract: what its manifest holds.

    Raises:
        ConfigError: no such name or file, or a manifest that is wrong or names a graph that is not there.
    """
    path = resolve(model, kind)
    if path.is_dir():
        path = _manifest_in(path, kind)
    if path.suffix not in MANIFEST_SUFFIXES:
        beside = (path.with_suffix(suffix) for suffix in MANIFEST_SUFFIXES)
        manifest = next((file for file in beside if file.is_file()), None)
        return path, read_manifest(manifest, kind, contract) if manifest else None
    found = read_manifest(path, kind, contract)
    graph = path.parent / found.graph
    if not graph.is_file():
        raise ConfigError(f"{path} names the graph {found.graph!r}, which is not beside it")
    return graph, found


def _manifest_in(directory: Path, kind: Kind) -> Path:
    path = directory / f"{kind}.json"
    if not path.is_file():
        hint = ": export it with --masks" if kind == "segmenter" and (directory / MANIFEST).is_file() else ""
        raise ConfigError(f"{directory} holds no {path.name}{hint}; or give an ONNX file or its manifest")
    return path


def quantised_beside(graph: Path, name: str) -> Path | None:
    """The int8 graph that a network's manifest names, beside its graph.

    Raises:
        ConfigError: it is not there.
    """
    if not name:
        return None
    path = graph.parent / name
    if not path.is_file():
        raise ConfigError(f"the manifest of {graph} names the int8 graph {name!r}, which is not beside it")
    return path


def read_manifest(path: Path, kind: Kind, contract: type[C]) -> C:
    """Read a network's manifest.

    Raises:
        ConfigError: it is not what its contract says; the message names the keys there are.
    """
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), contract)
    except (msgspec.ValidationError, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        keys = ", ".join(contract.__struct_fields__)
        raise ConfigError(f"{path} is not a {kind} manifest ({error}): it takes {keys}") from None


def _packaged(kind: Kind, family: str) -> str:
    names = zoo.names(kind, family)
    return f": {', '.join(names)}" if names else ""

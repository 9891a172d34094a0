"""The catalogue: models of others that can be fetched by name, and what is known of each."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from gaitstream.errors import ConfigError

Task = Literal["detector", "pose", "segmenter", "backbone", "checkpoint"]
"""What a model is for. A backbone is part of a gait model; a checkpoint is what `gaitstream export` takes."""
Sum = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class KnownFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is taken for a model."""

    sha256: Sum
    basis: str
    """Where size and sum are known from."""
    size: int | None = None
    """Bytes."""
    checked: bool = False
    """Whether the sum was computed from the file itself, and not taken from others' word."""


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue."""

    name: str
    task: Task
    summary: str
    licence: str
    terms: str
    """Address of the licence's text."""
    url: str
    consent: str = ""
    """What has to be agreed to before it is fetched; empty where the licence asks for nothing."""
    files: tuple[KnownFile, ...] = ()
    """What is taken for it, the file of `url` first; none where no sum is known."""
    member: str = ""
    """Name of the file in the archive that `url` gives; empty where it gives the file itself."""
    convert: Literal["", "blazepose"] = ""
    """The module of `gaitstream.zoo` that makes an ONNX graph of the file when it is fetched."""
    manifest: dict[str, Any] | None = None
    """What a network expects of its pixels, without `graph`; see the manifests of `gaitstream.models`."""
    usage: str = ""
    """The command that takes it, `{path}` standing for the file; for what no configuration names."""

    @property
    def file(self) -> str:
        """Name of its file in the cache."""
        suffix = PurePosixPath(self.member or urlsplit(self.url).path).suffix
        return self.name + (".onnx" if self.convert else suffix)

    @property
    def size(self) -> int | None:
        """Bytes of the file that is taken for it, None where that is not known."""
        return self.files[0].size if self.files else None

    def knows(self, sha256: str) -> KnownFile | None:
        """The known file of this sum."""
        return next((one for one in self.files if one.sha256 == sha256), None)


@lru_cache(maxsize=1)
def catalogue() -> tuple[CatalogueModel, ...]:
    """All models of the catalogue, in the order of its file."""
    import yaml

    text = (Path(__file__).parent / "catalogue.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), tuple[CatalogueModel, ...])


def look_up(name: str) -> CatalogueModel | None:
    """The model of this name, if there is one."""
    return next((one for one in catalogue() if one.name == name), None)


def find_model(name: str) -> CatalogueModel:
    """The model of this name.

    Raises:
        ConfigError: there is none.
    """
    found = look_up(name)
    if found is not None:
        return found
    known = [one.name for one in catalogue()]
    close = difflib.get_close_matches(name, known, 1)
    near = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(f"the catalogue has no model {name!r}{near}; it has {', '.join(known)}")

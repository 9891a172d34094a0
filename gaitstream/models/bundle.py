"""A model bundle on disk: `manifest.json`, the graphs, `parity.json`.

The manifest is the contract between the export and everything that runs a model. Its `fingerprint`
covers the graphs and the contract, so that a gallery can be bound to the exact model that filled it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from gaitstream.engines.base import Precision
from gaitstream.engines.graph_files import graph_sha256
from gaitstream.errors import BundleError, EngineError
from gaitstream.models.manifest import SCHEMA, Manifest, to_plain

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PARITY = "parity.json"

Role = Literal["frame", "head", "align", "deepstream", "deepstream_plugin", "clip", "chunk"]


def compute_fingerprint(manifest: Manifest, root: Path) -> str:
    """Hash over the contract and every graph file; independent of where the bundle lies."""
    contract = to_plain(msgspec.structs.replace(manifest, fingerprint="", allowed_precisions=()))
    digest = hashlib.sha256(msgspec.json.encode(contract, order="deterministic"))
    for precision in sorted(manifest.graphs):
        for name in msgspec.structs.astuple(manifest.graphs[precision]):
            if name is not None:
                path = root / name
                if not path.is_file():
                    raise BundleError(f"{root}: {name} is missing; export the bundle again")
                digest.update(f"{precision}/{name}={_hash(path, root)}\n".encode())
    return digest.hexdigest()


def _hash(path: Path, root: Path) -> str:
    """Of a graph with all its weights."""
    try:
        return graph_sha256(path)
    except EngineError as error:
        raise BundleError(f"{root}: {error}") from error


class Bundle:
    """A bundle directory, opened and checked.

    Attributes:
        root: the directory.
        manifest: its contract.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest

    @classmethod
    def open(cls, root: str | Path, *, verify: bool = True) -> Bundle:
        """Open a bundle directory.

        Args:
            root: directory holding `manifest.json`.
            verify: recompute the fingerprint over the graphs, which finds edited or damaged files.

        Raises:
            BundleError: the manifest is missing, unreadable or of an unknown schema, a graph is missing,
                or the fingerprint does not match.
        """
        root = Path(root)
        path = root / MANIFEST
        if not path.is_file():
            raise BundleError(
                f"{root} is not a model bundle: it has no {MANIFEST}; "
                "make one with 'gaitstream export FAMILY --checkpoint FILE --out DIR'"
            )
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is not a manifest of schema {SCHEMA}: {error}") from error
        if manifest.schema != SCHEMA:
            raise BundleError(
                f"{path} has schema {manifest.schema}, this version reads {SCHEMA}: export the bundle again"
            )
        if verify:
            actual = compute_fingerprint(manifest, root)
            if actual != manifest.fingerprint:
                raise BundleError(
                    f"{root}: a graph or the contract was changed after export (fingerprint {actual[:12]}, "
                    f"manifest says {manifest.fingerprint[:12]}); export the bundle again"
                )
        return cls(root, manifest)

    @property
    def fingerprint(self) -> str:
        """The model's identity, in hexadecimal."""
        return self.manifest.fingerprint

    def holds(self, role: Role, precision: Precision) -> bool:
        """Whether there is a graph of this role and precision."""
        return getattr(self.manifest.graphs.get(_stored(precision)), role, None) is not None

    def graph(self, role: Role, precision: Precision) -> Path:
        """Path of a graph; bf16 uses the fp32 files."""
        stored = _stored(precision)
        if stored not in self.manifest.graphs:
            have = ", ".join(sorted(self.manifest.graphs))
            raise BundleError(
                f"{self.root} has no {stored} graphs (it has {have}): export with --precision {stored}"
            )
        name: str | None = getattr(self.manifest.graphs[stored], role)
        if name is None:
            raise BundleError(f"{self.root} has no {role} graph for {stored}")
        return self.root / name

    def computed_in(self, role: Role, precision: Precision) -> Precision:
        """What a graph is opened in: a role that eight bits leave as it is has the graph of fp32."""
        plain = precision in ("int8", "fp8") and self.graph(role, precision) == self.graph(role, "fp32")
        return "fp32" if plain else precision

    def parity(self) -> dict[str, Any]:
        """The proof written at export, as plain data; empty when the file is missing.

        Raises:
            BundleError: it is damaged.
        """
        path = self.root / PARITY
        if not path.is_file():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is damaged ({error}): export the bundle again") from error

    def record_engine(self, name: str, proof: dict[str, Any]) -> None:
        """Add what a compiled engine was proved to compute in to `parity.json`, under `engines`.

        The report is replaced in one step, and those who build at the same time add to it in turn. A bundle
        that cannot be written keeps the report it has: the same proof lies beside the engine in the cache.

        Raises:
            BundleError: the report is damaged.
        """
        path = self.root / PARITY
        part = path.with_suffix(f".{os.getpid()}.part")
        with self._alone():
            report = self.parity()
            known = report.get("engines", {})
            if not isinstance(known, dict):
                raise BundleError(f"{path} is damaged (its engines are no object): export the bundle again")
            report["engines"] = {**known, name: proof}
            try:
                part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
                part.replace(path)
            except OSError as error:
                with contextlib.suppress(OSError):  # a read-only file system refuses this too, file or none
                    part.unlink()
                log.info("%s is not added to the parity report: %s", name, error)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others who build for the same bundle waiting, where its file system can."""
        try:
            folder = os.open(self.root, os.O_RDONLY)
        except OSError:
            yield
            return
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _stored(precision: Precision) -> str:
    """Whose files a precision takes: bf16 is a runtime's mode over the fp32 graphs."""
    return "fp32" if precision == "bf16" else precision


def write_manifest(manifest: Manifest, root: Path) -> Manifest:
    """Write `manifest.json` with the fingerprint of the graphs that lie in `root`."""
    sealed = msgspec.structs.replace(manifest, fingerprint=compute_fingerprint(manifest, root))
    text = msgspec.json.format(msgspec.json.encode(to_plain(sealed)), indent=2)
    (root / MANIFEST).write_bytes(text + b"\n")
    return sealed

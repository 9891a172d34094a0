"""Compiled engines on disk: found by what they were built from, for and with.

An entry is two files named by its key: `KEY.engine` and `KEY.json`, which repeats the key's fields and holds
the checksum and the precision proof. A reader needs no lock, because both are renamed into place; a builder
holds `KEY.lock`, so that two processes that want one engine build it once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import msgspec

from gaitstream.engines.base import Built
from gaitstream.engines.fixed_shapes import Shapes
from gaitstream.engines.proof import Proof
from gaitstream.errors import EngineError
from gaitstream.folders import cache_folder

log = logging.getLogger(__name__)

SCHEMA = 3


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that changes an engine's bytes."""

    graph_sha256: str
    runtime: str
    version: str
    device: str
    precision: str
    profile: str
    schema: int = SCHEMA

    def digest(self) -> str:
        """File name of the entry."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:32]


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside an engine."""

    key: Key
    graph: str
    """Path of the graph when it was built: to say what became of it."""
    sha256: str
    """Of the engine file; empty where the runtime keeps none."""
    size_bytes: int
    proof: Proof


class CachedEngine(msgspec.Struct, frozen=True):
    """A cache's answer.

    Attributes:
        built: the engine and its proof.
        sidecar: path of the metadata, None when nothing could be kept.
        reason: why it was built just now; empty when it came from the cache.
    """

    built: Built
    sidecar: Path | None
    reason: str


def default_root() -> Path:
    """Where engines are kept unless said otherwise; see `gaitstream.folders`."""
    return cache_folder("engines")


def trouble(root: Path) -> str:
    """Why engines cannot be kept in a folder, which is made; empty where they can."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0")
    except OSError as error:
        return str(NotKeptError(root, error))
    return ""


class EngineCache:
    """A folder of compiled engines.

    Args:
        root: the folder; made when the first engine is kept.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else default_root()

    def get(
        self,
        key: Key,
        graph: Path,
        build: Callable[[], Built],
        *,
        must_keep: bool = False,
        refuse: str = "",
        quiet: bool = False,
    ) -> CachedEngine:
        """The engine of this key, built and kept when there is none that is whole.

        Args:
            key: what it must be.
            graph: the ONNX file, for messages.
            build: compiles it.
            must_keep: raise when the engine cannot be kept, instead of using it from memory alone.
            refuse: a reason not to take what the cache has, such as an engine that did not load.
            quiet: not to warn where the engine cannot be kept.

        Raises:
            EngineError: the build failed, or `must_keep` and the folder cannot be written.
        """
        if not refuse:
            entry, reason = self._read(key, graph)
            if entry is not None:
                return CachedEngine(entry, self._sidecar(key), "")
            refuse = reason
        try:
            with self._locked(key):
                # Another process may have built it while this one waited for the lock.
                entry, reason = self._read(key, graph)
                if entry is not None and reason != refuse and not refuse.startswith("it did not load"):
                    return CachedEngine(entry, self._sidecar(key), "")
                built = build()
                self._write(key, graph, built)
                return CachedEngine(built, self._sidecar(key), refuse)
        except NotKeptError as error:
            if must_keep:
                raise EngineError(str(error)) from error
            level = logging.DEBUG if quiet else logging.WARNING
            log.log(level, "%s; the engine is used from memory and built again next time", error)
            return CachedEngine(error.built or build(), None, refuse)

    def _sidecar(self, key: Key) -> Path:
        return self.root / f"{key.digest()}.json"

    def _engine(self, key: Key) -> Path:
        return self.root / f"{key.digest()}.engine"

    def _read(self, key: Key, graph: Path) -> tuple[Built | None, str]:
        """The entry, or why there is none to use."""
        path = self._sidecar(key)
        try:
            sidecar = msgspec.json.decode(path.read_bytes(), type=Sidecar)
        except FileNotFoundError:
            return None, self._nearest(key, graph)
        except (OSError, ValueError) as error:
            return None, f"its metadata {path.name} is damaged ({error})"
        if sidecar.key != key:
            return None, f"{path.name} is foreign: {_difference(sidecar.key, key)}"
        if not sidecar.sha256:
            return Built(None, sidecar.proof), ""
        try:
            blob = self._engine(key).read_bytes()
        except OSError as error:
            return None, f"its engine file cannot be read ({error.strerror})"
        if hashlib.sha256(blob).hexdigest() != sidecar.sha256:
            return None, f"its engine file is damaged ({len(blob)} bytes, {sidecar.size_bytes} were written)"
        return Built(blob, sidecar.proof), ""

    def _nearest(self, key: Key, graph: Path) -> str:
        """Why the engines that are there do not do."""
        reasons = []
        for path in sorted(self.root.glob("*.json")) if self.root.is_dir() else []:
            try:
                other = msgspec.json.decode(path.read_bytes(), type=Sidecar)
            except (OSError, ValueError):
                continue
            if (other.key.runtime, other.key.precision) != (key.runtime, key.precision):
                continue
            if other.key.graph_sha256 == key.graph_sha256 or other.graph == str(graph.resolve()):
                changed = _difference(other.key, key)
                reasons.append((changed.count(";"), changed))
        return f"the nearest engine there is differs: {min(reasons)[1]}" if reasons else "there is none yet"

    @contextlib.contextmanager
    def _locked(self, key: Key) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / f"{key.digest()}.lock")
            lock.acquire()
        except OSError as error:
            raise NotKeptError(self.root, error) from error
        try:
            yield
        finally:
            lock.release()

    def _write(self, key: Key, graph: Path, built: Built) -> None:
        blob = built.blob or b""
        sidecar = Sidecar(
            key=key,
            graph=str(graph.resolve()),
            sha256=hashlib.sha256(blob).hexdigest() if built.blob is not None else "",
            size_bytes=len(blob),
            proof=built.proof,
        )
        try:
            for left in self.root.glob(f".{key.digest()}.*.part"):  # by one who was killed: the lock is ours
                left.unlink(missing_ok=True)
            if built.blob is not None:
                replace_file(self._engine(key), blob)
            replace_file(self._sidecar(key), msgspec.json.format(msgspec.json.encode(sidecar), indent=2))
        except OSError as error:
            raise NotKeptError(self.root, error, built) from error


class ShapeCache:
    """What an engine is compiled for beside any shape; in a folder of its own, for there are many.

    Args:
        cache: of the engine.
        key: of the engine.
        graph: the ONNX file, for messages.
    """

    def __init__(self, cache: EngineCache, key: Key, graph: Path) -> None:
        self._cache = EngineCache(cache.root / "shapes" / key.digest())
        self._key = key
        self._graph = graph

    def get(self, shapes: Shapes, build: Callable[[], Built], refuse: str = "") -> Built:
        """What was compiled for some shapes, compiled and kept when there is none; see `EngineCache.get`."""
        key = msgspec.structs.replace(self._key, profile=f"{self._key.profile};shapes={shapes}")
        return self._cache.get(key, self._graph, build, refuse=refuse, quiet=True).built


class NotKeptError(Exception):
    """The folder cannot be written; carries the engine when it was already built."""

    def __init__(self, root: Path, error: OSError, built: Built | None = None) -> None:
        self.built = built
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free some space" if full else "make it writable"
        super().__init__(
            f"the engine cache {root} cannot be written ({error.strerror}): {advice}, "
            "or set GAITSTREAM_CACHE to another folder"
        )


def replace_file(path: Path, content: bytes) -> None:
    """Write beside the target and rename, so that a reader sees all of it or none."""
    # Not mkstemp: its files are for their owner alone, and a cache may be shared.
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _difference(have: Key, want: Key) -> str:
    words = {"graph_sha256": "the graph has changed", "schema": "it is of another cache format"}
    changed = []
    for name in Key.__struct_fields__:
        old, new = getattr(have, name), getattr(want, name)
        if old != new:
            changed.append(words.get(name, f"{name} is {old!r}, needed is {new!r}"))
    return "; ".join(changed)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

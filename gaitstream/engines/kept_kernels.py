"""Kernels that TensorRT-RTX compiles where an engine runs, kept so that the next start waits for none.

TensorRT chooses its kernels when an engine is built; TensorRT-RTX compiles them on the GPU that runs it, when
a context is made and when a shape is new.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from gaitstream.engines.cache import replace_file
from gaitstream.folders import cache_folder

log = logging.getLogger(__name__)


class KeptKernels:
    """The compiled kernels of one engine; use it where the engine's GPU is current.

    Args:
        engine: TensorRT-RTX's.
        blob: the same, serialised: what it is filed under.
    """

    def __init__(self, engine: Any, blob: bytes) -> None:
        self._engine = engine
        self._cache = engine.create_runtime_config().create_runtime_cache()
        self._path = cache_folder("rtx_kernels") / f"{hashlib.sha256(blob).hexdigest()[:32]}.cache"
        try:
            self._known = self._path.read_bytes()
        except OSError:
            self._known = b""
        if self._known and not self._cache.deserialize(self._known):
            log.info("%s is damaged or of another GPU or driver: kernels are compiled anew", self._path)
            self._known = b""

    def settings(self, strategy: Any) -> Any:
        """What a context is made with that takes its kernels from here.

        Args:
            strategy: how its memory is allocated.
        """
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.set_runtime_cache(self._cache)
        return config

    def keep(self) -> None:
        """Write what was compiled since; a folder that cannot be written costs time at the next start."""
        found = self._cache.serialize()
        content = b"" if found is None else bytes(found)
        if content in (b"", self._known):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, content)
        except OSError as error:
            log.warning("compiled kernels cannot be kept in %s (%s)", self._path.parent, error.strerror)

"""Which models find what the recognizers of a configuration look at."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from gaitstream.config.models_section import Models
from gaitstream.config.schema import Config
from gaitstream.errors import BundleError, ConfigError
from gaitstream.gallery.upstream import Upstream, UpstreamModel
from gaitstream.models.manifest import InputKind, Manifest
from gaitstream.models.pose import PoseContract
from gaitstream.models.resolve import find_bundle, find_network, is_path
from gaitstream.models.segmenter import SegmenterContract

_DIGITS = 12


def upstream_of(config: Config) -> dict[str, Upstream]:
    """What each recognizer is given joints and masks by; nothing for models that are not there.

    Whoever opens those says so.
    """
    found: dict[str, Upstream] = {}
    for name, one in config.models.recognizers.items():
        found[name] = ()
        with suppress(ConfigError, BundleError):
            manifest = find_bundle(one.model, family=config.models.family(name), verify=False).manifest
            found[name] = _upstream_for(manifest, config.models)
    return found


def _upstream_for(manifest: Manifest, models: Models) -> Upstream:
    found = []
    if manifest.needs_pose:
        pose = models.pose.model if models.pose else "demo"
        graph, _ = find_network(pose, "pose", PoseContract)
        found.append(UpstreamModel("pose", _name(pose), _digest(graph)))
    if InputKind.SILHOUETTE in manifest.needs and models.segmenter is not None:
        segmenter = models.segmenter.model
        graph, _ = find_network(segmenter, "segmenter", SegmenterContract)
        found.append(UpstreamModel("segmenter", _name(segmenter), _digest(graph)))
    return tuple(found)


def _name(model: str | Path) -> str:
    return Path(model).name if is_path(model) else str(model)


def _digest(graph: Path) -> str:
    state = graph.stat()
    return _digest_of(graph, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _digest_of(graph: Path, _mtime_ns: int, _size: int) -> str:
    with graph.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]

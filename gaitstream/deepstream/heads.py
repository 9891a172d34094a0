"""The recognizers behind DeepStream: head graphs alone, for frame graphs run in nvinfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaitstream.config.schema import Config
from gaitstream.engines import open_engine
from gaitstream.errors import EngineError
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve

if TYPE_CHECKING:
    from gaitstream.engines.cache import EngineCache


def load_heads(config: Config, cache: EngineCache | None = None) -> dict[str, Recognizer]:
    """Open the head graphs of a configuration's recognizers; frame graphs run in DeepStream.

    Raises:
        ConfigError: a bundle is of another kind than its key says.
        EngineError: a graph does not compile, or a bundle cannot be pooled frame by frame.
    """
    heads = {}
    for kind, model in config.models.recognizers.items():
        bundle = Bundle.open(resolve(model.model, "recognizer", family=kind))
        alignment = bundle.manifest.alignment
        if alignment is not None and alignment.normalization == "tracklet":
            raise EngineError(
                f"{bundle.root} normalises heatmaps over the tracklet, which DeepStream never sees; "
                "export it with --normalization fixed"
            )
        runtime = config.runtime
        head = open_engine(bundle.graph("head", "fp32"), runtime.name, "fp32", runtime.threads, cache=cache)
        # Nothing is encoded here, so the head stands in for the frame graph's engine as well.
        heads[kind] = Recognizer(bundle, head, head)
    return heads

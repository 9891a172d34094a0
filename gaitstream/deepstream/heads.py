"""The recognizers behind DeepStream: what turns windows into embeddings, for frames that nvinfer has seen."""

from __future__ import annotations

from gaitstream.config.schema import Config
from gaitstream.engines import open_engine
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import EngineError
from gaitstream.models.bundle import Bundle
from gaitstream.models.encoders import ClipEncoder, Head, WindowEncoder
from gaitstream.models.recognizer import Recognizer, on_best_runtime
from gaitstream.models.resolve import find_bundle


def load_heads(config: Config, cache: EngineCache | None = None) -> dict[str, Recognizer]:
    """Open the head or clip graphs of a configuration's recognizers; the rest runs in DeepStream.

    Raises:
        ConfigError: a bundle is of another family than its key says.
        EngineError: a graph does not compile, or a bundle cannot be pooled frame by frame.
    """
    heads = {}
    for name, model in config.models.recognizers.items():
        bundle = find_bundle(model.model, family=config.models.family(name))
        heads[name] = Recognizer(bundle, _open_windows(bundle, config, cache))
    return heads


def _open_windows(bundle: Bundle, config: Config, cache: EngineCache | None) -> WindowEncoder:
    manifest, runtime = bundle.manifest, config.runtime
    # DeepStream's own GPU, where it is not the first: that one may belong to somebody else.
    device = f"cuda:{config.deepstream.gpu}" if config.deepstream.gpu else None
    if manifest.shape == "clip":
        options = {"threads": runtime.threads, "cache": cache, "device": device}
        return on_best_runtime(
            bundle,
            runtime.name,
            runtime.precision,
            options,
            lambda engines: ClipEncoder(manifest, engines.open("clip"), engines.aligner()),
        )
    if manifest.keeps == "inputs":
        raise EngineError(
            f"{bundle.root} normalises its inputs over the tracklet, which DeepStream never sees: export it "
            "with --normalization fixed"
        )
    graph = bundle.graph("head", "fp32")
    engine = open_engine(graph, runtime.name, "fp32", runtime.threads, cache=cache, device=device)
    return Head(manifest, engine)

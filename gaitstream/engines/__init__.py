"""Compiled models: ONNX in, arrays out, one small protocol over every runtime.

    from gaitstream.engines import open_engine

    with open_engine("model.onnx", runtime="auto") as engine:
        outputs = engine.infer({"images": images})

Importing this package imports no runtime; each is imported when it is first asked for.
"""

from gaitstream.engines.base import Batch, Engine, Pending, Pixels, TensorSpec
from gaitstream.engines.opening import graph_shapes, open_engine
from gaitstream.engines.proof import Proof

__all__ = ["Batch", "Engine", "Pending", "Pixels", "Proof", "TensorSpec", "graph_shapes", "open_engine"]

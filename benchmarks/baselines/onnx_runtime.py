"""The assembly on ONNX Runtime, fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.baselines.assembly import Bytes, Floats, assemble, report
from gaitstream import zoo
from gaitstream.bench.result import Row


class OrtModels:
    """Detector, pose model and the bundle's fp32 graphs as sessions."""

    def __init__(self, bundle: Path) -> None:
        self.detector = open_session(zoo.find("demo", "detector").with_suffix(".onnx"))
        self.pose = open_session(zoo.find("demo", "pose").with_suffix(".onnx"))
        self.align, self.frame, self.head = (
            open_session(bundle / f"{name}.onnx") for name in ("align", "frame", "head")
        )

    def detect(self, pictures: Floats) -> Floats:
        """See `assembly.Models`."""
        return np.asarray(self.detector.run(None, {"images": pictures})[0])

    def heatmaps(self, crops: Bytes) -> Floats:
        """See `assembly.Models`."""
        return np.asarray(self.pose.run(None, {"crops": crops})[0])

    def embed(self, heatmaps: Floats, keypoints: Floats) -> Floats:
        """See `assembly.Models`."""
        (parts,) = self.align.run(["parts"], {"heatmaps": heatmaps, "keypoints": keypoints})
        (features,) = self.frame.run(None, {"parts": parts})
        (embedding,) = self.head.run(None, {"pooled": features.max(0, keepdims=True)})
        return np.asarray(embedding[0])


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The fastest of what this build offers."""
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    here = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(path, providers=[name for name in wanted if name in here])


def run(clips: list[str], bundle: str, stride: int) -> list[Row]:
    """The comparison's contender."""
    models = OrtModels(Path(bundle))
    return report("ONNX Runtime, per window", assemble(clips, models, stride), bundle, stride)

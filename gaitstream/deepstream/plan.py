"""What the graph is built from: the models as nvinfer needs to know them.

A plan holds files and figures only. `models.make_plan` derives it from a configuration; tests write it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CropRule = Literal["pad_to_aspect", "pose", "segment"]


def feature_layer(model: str) -> str:
    """Output of a graph for nvinfer: what is kept of a frame, half precision.

    Args:
        model: the family, as the manifest has it.
    """
    return f"{model}_feature"


def keypoints_layer(model: str) -> str:
    """Output of those that look at poses: joints `[17, 3]`, x and y in heatmap pixels and score, float32."""
    return f"{model}_keypoints"


@dataclass(frozen=True)
class DetectorPlan:
    """The person detector, run on whole frames."""

    onnx: Path
    layout: str
    """A name of `detector_layouts.LAYOUTS`; one that DeepStream can read."""
    height: int
    width: int
    batch: int
    """Frames per call; 1 when the graph's batch is fixed to 1."""
    scale: float = 1.0
    """`y = scale * (x - offset)`, one scale for all channels: that is all nvinfer can do."""
    offsets: tuple[float, ...] = ()
    bgr: bool = False
    keep_aspect: bool = True
    centred: bool = False
    """Letterbox with the image in the middle instead of the top left."""
    person: int = 0
    """Index of the class `person`. Our parser takes the last configured class for it."""
    half: bool = False
    """The graph is typed in half precision."""
    doubles: bool = False
    """A person may be found several times, even where the layout is end-to-end."""
    digest: str = ""
    """Of the graph; part of the engine's name, because nvinfer takes whatever engine it finds."""


@dataclass(frozen=True)
class EncoderPlan:
    """A recognizer's graph for nvinfer, run on tracked persons."""

    name: str
    """Of the recognizer, in the configuration."""
    onnx: Path
    height: int
    width: int
    batch: int
    shape: tuple[int, ...]
    """Of what is kept of a frame: a feature map's channels, height, width."""
    half: bool = True
    """The graph computes in half precision; what it gives has it in any case."""
    digest: str = ""
    """Of the graph."""
    plugins: bool = False
    """The graph holds operators of our plugin library, which has to be loaded before the engine is."""
    model: str = ""
    """The family, which the layers are named after; as `name` when empty."""
    rule: CropRule = "pad_to_aspect"
    """What is cut out of the picture; see `manifest.InputContract.crop_rule`."""
    has_joints: bool = False
    """The graph also gives joints."""
    waits: bool = False
    """It gives inputs for the window's end, not features."""

    @property
    def feature(self) -> str:
        """Name of the layer with what is kept of a frame."""
        return feature_layer(self.model or self.name)

    @property
    def keypoints(self) -> str | None:
        """Name of the keypoints' layer, None when the graph has none."""
        return keypoints_layer(self.model or self.name) if self.has_joints else None


@dataclass(frozen=True)
class Plan:
    """Everything the graph needs beside the configuration."""

    detector: DetectorPlan
    encoders: tuple[EncoderPlan, ...]
    """In the order they run; at least one."""
    parser: Path
    """Our parser library."""
    engines: Path
    """Folder for compiled engines: a volume, so that they are built once."""
    gpu: int = 0
    """Number of the GPU that runs it."""

"""Joint heatmaps of cropped people, from any top-down pose model in ONNX.

A model is usable when it turns `[n, 3, 256, 192]` into `[n, 17, 64, 48]` heatmaps of the COCO joints, or into
what these can be made of; see `gaitstream.models.pose_outputs`. How its input is normalised is declared in a
small YAML or JSON file of the same name beside it:

    graph: vitpose_s.onnx
    colour: rgb              # or bgr
    scale: 255               # pixels are divided by this first
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
    precisions: [bf16]       # optional: where joints stay where they are, so `auto` may compute in it
    joints: []               # optional: which of more joints are COCO's
    beta: 10                 # optional: of one value for each bin, as RTMPose makes; 1 for SimCC's
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import EngineError
from gaitstream.kernels.peaks import find_peaks
from gaitstream.models.crop_network import CropNetwork, open_for_crops
from gaitstream.models.crops import Bytes, PeopleInFrames, crop_around, crop_frames, crop_windows
from gaitstream.models.manifest_bounds import Index, Level, Positive
from gaitstream.models.pose_outputs import (
    CROP_HEIGHT,
    CROP_WIDTH,
    HEAT_HEIGHT,
    HEAT_WIDTH,
    JOINTS,
    as_heatmaps,
)
from gaitstream.models.resolve import find_network, quantised_beside

log = logging.getLogger(__name__)


class PoseContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the graph expects of its pixels: `(x / scale - mean) / std` in the order of `colour`."""

    graph: str
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 255.0
    mean: tuple[Level, Level, Level] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    precisions: tuple[Literal["bf16", "int8"], ...] = ()
    """Lower precisions in which it was measured to find the same joints: `auto` may take them."""
    int8: str = ""
    """File of its quantised graph beside it, where there is one."""
    joints: tuple[Index, ...] = ()
    """Which of the graph's joints are COCO's, in COCO's order; where empty, the first."""
    beta: Positive = 10.0
    """What one value for each bin of an axis is multiplied with before the softmax, as in training."""
    licence: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError where joints are missing; of a file it becomes a ConfigError."""
        if len(self.joints) not in (0, JOINTS):
            raise ValueError(
                f"`joints` takes {JOINTS} numbers, one for each of COCO's joints, not {len(self.joints)}"
            )


class PoseModel:
    """A top-down pose model, ready to run.

    Attributes:
        contract: how its input is normalised.
        engine: what runs it.
    """

    def __init__(self, contract: PoseContract, engine: Engine) -> None:
        self.contract = contract
        self.engine = engine
        _check_shapes(contract.graph, engine)
        self._network = CropNetwork(contract, engine)

    @classmethod
    def load(
        cls,
        model: str | Path,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        *,
        cache: EngineCache | None = None,
        device: str | None = None,
    ) -> Self:
        """Open an ONNX file, the manifest that names it, or a name of the model zoo.

        Without a manifest beside the ONNX file the model is taken to expect ImageNet normalisation in RGB.

        Raises:
            ConfigError: there is no such file, or the manifest is wrong.
            EngineError: the graph does not compile, or does not make `[n, 17, 64, 48]`.
            MissingExtraError: it makes something else that needs `onnx` to be changed.
        """
        graph, contract = read_contract(model)
        engine = open_for_crops(graph, contract, runtime, precision, threads, cache=cache, device=device)
        return cls(contract, engine)

    def crop(self, image: Bytes, boxes: Floats) -> Bytes:
        """Cut people out: box x 1.25 around its centre, aspect kept, black where the image ends.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            boxes: xyxy pixels `[n, 4]`.

        Returns:
            RGB uint8 `[n, 3, 256, 192]`.
        """
        return crop_around(image, boxes, (CROP_HEIGHT, CROP_WIDTH))

    def crop_frames(self, frames: PeopleInFrames) -> Bytes:
        """`crop` in several frames at once."""
        return crop_frames(frames, (CROP_HEIGHT, CROP_WIDTH))

    def crop_into(self, image: Bytes, boxes: Floats, crops: Bytes) -> None:
        """The same into an array that is there, with the channels in the order the graph wants.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            boxes: xyxy pixels `[n, 4]`.
            crops: uint8 `[n, 3, 256, 192]` to fill.
        """
        crop_around(image, boxes, (CROP_HEIGHT, CROP_WIDTH), out=crops, colour=self.contract.colour)

    def heatmaps(self, crops: Bytes) -> Floats:
        """Joint heatmaps `[n, 17, 64, 48]` of RGB uint8 crops `[n, 3, 256, 192]`."""
        return self._network.run_whole(crops).astype(np.float32, copy=False)

    def feeds(self, crops: Bytes) -> dict[str, NDArray[Any]]:
        """What the graph takes for RGB uint8 crops `[n, 3, 256, 192]`."""
        return self._network.feeds(crops)

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many crops at once."""
        self._network.prepare(most)

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()


def keypoints(heatmaps: Floats) -> Floats:
    """Peaks of heatmaps, moved a quarter pixel towards the higher neighbour.

    Args:
        heatmaps: `[n, joints, 64, 48]`, float32 or float16.

    Returns:
        `[n, joints, 3]` float32: x and y in heatmap pixels (pixel centres at whole numbers), score.
    """
    return find_peaks(heatmaps)


def to_image(points: Floats, boxes: Floats) -> Floats:
    """Move keypoints from heatmap pixels to pixels of the image the boxes lie in.

    Args:
        points: `[n, joints, 3]` as `keypoints` makes them.
        boxes: xyxy pixels `[n, 4]`, the ones that were cropped.

    Returns:
        `[n, joints, 3]` float32, scores unchanged.
    """
    left, top, scale = crop_windows(boxes, (CROP_HEIGHT, CROP_WIDTH)).T[:, :, None]
    stride = CROP_WIDTH / HEAT_WIDTH
    moved = points.copy()
    moved[:, :, 0] = (points[:, :, 0] + 0.5) * stride / scale + left - 0.5
    moved[:, :, 1] = (points[:, :, 1] + 0.5) * stride / scale + top - 0.5
    return moved


def to_heatmap(points: Floats, boxes: Floats) -> NDArray[np.float64]:
    """Move points of an image to heatmap pixels of the crops of boxes: the inverse of `to_image`.

    Args:
        points: `[n, joints, 2 or more]`, x and y first, pixels.
        boxes: xyxy pixels `[n, 4]`, the ones that are cropped.

    Returns:
        The same shape, float64, what follows x and y unchanged.
    """
    left, top, scale = crop_windows(boxes, (CROP_HEIGHT, CROP_WIDTH)).T[:, :, None]
    stride = CROP_WIDTH / HEAT_WIDTH
    moved = np.array(points, np.float64)
    moved[:, :, 0] = (moved[:, :, 0] + 0.5 - left) * scale / stride - 0.5
    moved[:, :, 1] = (moved[:, :, 1] + 0.5 - top) * scale / stride - 0.5
    return moved


def read_contract(model: str | Path) -> tuple[Path, PoseContract]:
    """The graph of a pose model and its contract: the manifest's, or ImageNet normalisation in RGB.

    The graph ends in heatmaps of COCO's joints where it can be made to; the contract is of that one then.

    Raises:
        ConfigError: no such name or file, or a manifest that is wrong.
        EngineError: the graph makes bins of pictures of another size.
        MissingExtraError: the graph has to be changed, and `onnx` is not installed.
    """
    graph, contract = find_network(model, "pose", PoseContract)
    if contract is None:
        log.info("%s has no manifest beside it: ImageNet normalisation in RGB is assumed", graph.name)
        contract = PoseContract(graph=graph.name)
    made = as_heatmaps(graph, contract.joints, contract.beta)
    if made == graph:
        return graph, contract
    smaller = quantised_beside(graph, contract.int8)
    int8 = "" if smaller is None else str(as_heatmaps(smaller, contract.joints, contract.beta))
    return made, msgspec.structs.replace(contract, graph=made.name, joints=(), int8=int8)


def check_heatmaps(graph: str, name: str, shape: Sequence[int]) -> None:
    """See that a graph's first output is a pose model's.

    Args:
        graph: its name.
        name: of the output.
        shape: of the output.

    Raises:
        EngineError: it is another model's.
    """
    if len(shape) != 4 or tuple(shape[1:]) != (JOINTS, HEAT_HEIGHT, HEAT_WIDTH):
        raise EngineError(
            f"{graph} makes {name} {list(shape)}: a pose model makes heatmaps [n, 17, 64, 48], or "
            "[n, 17, 384] and [n, 17, 512] as RTMPose does; export it without decoding, for an input of "
            "256 x 192, and name COCO's joints among others in `joints` of its manifest"
        )


def _check_shapes(graph: str, engine: Engine) -> None:
    source = next(iter(engine.inputs.values()))
    wanted_in = (3, CROP_HEIGHT, CROP_WIDTH)
    if len(engine.inputs) != 1 or not source.accepts((source.shape[0], *wanted_in)):
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in engine.inputs.values())
        raise EngineError(f"{graph} takes {shapes}: a pose model takes one input [n, 3, 256, 192]")
    found = next(iter(engine.outputs.values()))
    check_heatmaps(graph, found.name, found.shape)

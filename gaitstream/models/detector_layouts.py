"""How detectors lay out their inputs and outputs, and how each is read.

A layout is recognised from the names and shapes of the outputs, or declared in a YAML or JSON file of the
same name beside the ONNX file:

    graph: rtdetr_r18.onnx
    layout: detr
    fit: stretch            # top_left, center or stretch
    colour: rgb             # or bgr
    scale: 255              # pixels are divided by this first
    mean: [0, 0, 0]
    std: [1, 1, 1]
    person: 0               # index of the class `person`
    size: [640, 640]        # height, width; for graphs that leave them open
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.errors import ConfigError
from gaitstream.models.manifest_bounds import Grey, Index, Level, Pixels, Positive
from gaitstream.registry import Registry

Fit = Literal["top_left", "center", "stretch"]
Outputs = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]

OWN = ("yolox", "yolov8", "yolov10", "detr", "rfdetr")
"""Names of the layouts of this package."""
STRIDES = (8, 16, 32)
FEWEST_QUERIES, MOST_QUERIES = 50, 1000
"""Of end-to-end detectors: each query, a row of the output, is one person at most."""


class DetectorContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a detector expects of its pixels, and how its outputs are read."""

    graph: str
    layout: str
    fit: Fit = "center"
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 255.0
    mean: tuple[Level, Level, Level] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    person: Index = 0
    size: tuple[Pixels, Pixels] = (640, 640)
    pad: Grey = 114
    precisions: tuple[Literal["bf16", "int8"], ...] = ()
    """Lower precisions in which it was measured to find the same people: `auto` may take them."""
    int8: str = ""
    """File of its quantised graph beside it, where there is one."""
    licence: str = ""


Decoder = Callable[[Outputs, int, DetectorContract, tuple[int, int], float], tuple[Floats, Floats]]
"""(outputs, item of the batch, contract, input size, least score) -> boxes xyxy in input pixels, scores."""


@dataclass(frozen=True, kw_only=True)
class NvinferParser:
    """How DeepStream reads a layout.

    Attributes:
        function: an `NvDsInferParseCustomFunc` of a library; the last configured class is the person.
        library: file that holds it; ours when None.
    """

    function: str
    library: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DetectorLayout:
    """One way in which detectors lay out their inputs and outputs.

    Attributes:
        decode: reads the outputs.
        usual: fields of `DetectorContract` that the authors' own exports expect, where they differ from its
            defaults.
        recognises: whether outputs of these shapes (-1 where dynamic), for an input of this height and width,
            are of this layout; never, for one that has to be named.
        end_to_end: it holds each person once: no suppression of overlaps.
        nvinfer: how DeepStream reads it; None when it cannot.
        takes: the outputs it reads, for messages.
        fits: whether it reads outputs of these shapes (-1 where dynamic), with this index of the person, for
            an input of this height and width.
    """

    decode: Decoder
    usual: Mapping[str, Any] = field(default_factory=dict)
    recognises: Callable[[Shapes, tuple[int, int]], bool] = lambda _shapes, _size: False
    end_to_end: bool = False
    nvinfer: NvinferParser | None = None
    takes: str = ""
    fits: Callable[[Shapes, int, tuple[int, int]], bool] = lambda _shapes, _person, _size: True


LAYOUTS: Registry[DetectorLayout] = Registry(
    "detector layout",
    "gaitstream.detectors",
    {name: f"{__name__}:{name.upper()}" for name in OWN},
    is_a=DetectorLayout,
)
"""The layouts by name; another package adds its own by an entry point."""


def usual_contract(graph: str, layout: str) -> DetectorContract:
    """What the authors' own exports of a layout expect.

    Raises:
        ConfigError: there is no such layout.
    """
    return DetectorContract(graph=graph, layout=layout, **LAYOUTS.get(layout).usual)


def recognise(graph: str, outputs: Shapes, size: tuple[int, int]) -> str:
    """The layout of a graph from its outputs: the first that recognises them.

    Args:
        graph: for the message.
        outputs: shape by output name, -1 where dynamic.
        size: input height and width.

    Raises:
        ConfigError: when it is none of the known; the message shows the outputs.
    """
    for name, layout in LAYOUTS.usable():
        if layout.recognises(outputs, size):
            return name
    found = ", ".join(f"{name} {list(shape)}" for name, shape in outputs.items())
    raise ConfigError(
        f"{graph}: its outputs ({found}) are no detector layout known here; allowed: "
        f"{', '.join(LAYOUTS.names())}; write a manifest (graph, layout, fit, colour, scale, size) beside "
        "the file, or set models.detector.layout if it is one of these with its authors' usual input"
    )


def holds_doubles(layout: DetectorLayout, outputs: Shapes, size: tuple[int, int]) -> bool:
    """Whether a person may be found several times, so that overlaps have to be suppressed.

    A row for every cell is not suppressed in the graph whatever its columns mean: DeepStream-Yolo's exports.
    """
    rows, _ = _single(outputs) or (0, 0)
    return not layout.end_to_end or rows == _cell_count(size) or rows > MOST_QUERIES


def check(contract: DetectorContract, outputs: Shapes, size: tuple[int, int]) -> None:
    """Stop where a graph's outputs are not what its layout reads.

    Args:
        contract: names the layout and the class of the person.
        outputs: shape by output name, -1 where dynamic.
        size: input height and width.

    Raises:
        ConfigError: they are not.
    """
    layout = LAYOUTS.get(contract.layout)
    if not layout.fits(outputs, contract.person, size):
        found = ", ".join(f"{name} {list(shape)}" for name, shape in outputs.items())
        raise ConfigError(
            f"{contract.graph}: its outputs ({found}) are not what the layout {contract.layout} reads, "
            f"{layout.takes}, with the person as class {contract.person} and an input of {size[0]} x "
            f"{size[1]}: correct layout, person or size in its manifest; layouts are "
            f"{', '.join(LAYOUTS.names())}"
        )


@dataclass(frozen=True)
class Geometry:
    """How one image was put into the network's input."""

    scale_x: float
    scale_y: float
    left: float
    top: float

    @classmethod
    def of(cls, image: tuple[int, int], net: tuple[int, int], fit: Fit) -> Geometry:
        """Scales and offsets for an image of (height, width) in an input of (height, width)."""
        if fit == "stretch":
            return cls(net[1] / image[1], net[0] / image[0], 0.0, 0.0)
        scale = min(net[0] / image[0], net[1] / image[1])
        if fit == "top_left":
            return cls(scale, scale, 0.0, 0.0)
        left = round((net[1] - round(image[1] * scale)) / 2 - 0.1)
        top = round((net[0] - round(image[0] * scale)) / 2 - 0.1)
        return cls(scale, scale, float(left), float(top))

    def to_image(self, boxes: Floats) -> Floats:
        """Move xyxy boxes `[n, 4]` from input pixels to image pixels."""
        offset = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        return (boxes - offset) / scale


def _yolox(
    outputs: Outputs, item: int, contract: DetectorContract, size: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """`[b, cells, 5 + classes]`: centre relative to the cell, log size, objectness, class scores."""
    (raw,) = outputs.values()
    rows = raw[item]
    scores = rows[:, 4] * rows[:, 5 + contract.person]
    keep = np.flatnonzero(scores >= least)
    grid, stride = _cells(size)
    rows, stride = rows[keep].astype(np.float32, copy=False), stride[keep]
    centre = (rows[:, :2] + grid[keep]) * stride
    half = np.exp(rows[:, 2:4]) * stride / 2
    return np.hstack([centre - half, centre + half]), scores[keep]


def _yolov8(
    outputs: Outputs, item: int, contract: DetectorContract, _: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """`[b, 4 + classes, cells]`: centre and size in input pixels, class scores."""
    (raw,) = outputs.values()
    scores = raw[item, 4 + contract.person]
    keep = np.flatnonzero(scores >= least)
    return _corners(raw[item, :4, keep]), scores[keep]


def _yolov10(
    outputs: Outputs, item: int, contract: DetectorContract, _: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """`[b, n, 6]`: xyxy in input pixels, score, class."""
    (raw,) = outputs.values()
    rows = raw[item]
    rows = rows[(rows[:, 4] >= least) & (rows[:, 5].round() == contract.person)]
    return rows[:, :4], rows[:, 4]


def _detr(
    outputs: Outputs, item: int, contract: DetectorContract, size: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """Labels, boxes (xyxy in the size handed in), scores; or one `[b, n, 4 + classes]` in 0..1."""
    if len(outputs) == 1:
        (raw,) = outputs.values()
        scores = raw[item, :, 4 + contract.person]
        keep = np.flatnonzero(scores >= least)
        return _corners(raw[item, keep, :4]) * _to_pixels(size), scores[keep]
    scores = outputs["scores"][item]
    keep = np.flatnonzero((scores >= least) & (outputs["labels"][item] == contract.person))
    return outputs["boxes"][item][keep], scores[keep]


def _rfdetr(
    outputs: Outputs, item: int, contract: DetectorContract, size: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """Boxes `[b, n, 4]` (centre and size in 0..1) and logits `[b, n, classes]`."""
    boxes, logits = sorted(outputs.values(), key=lambda array: array.shape[2] != 4)
    scores = 1.0 / (1.0 + np.exp(-logits[item, :, contract.person].astype(np.float32)))
    keep = np.flatnonzero(scores >= least)
    return _corners(boxes[item, keep]) * _to_pixels(size), scores[keep].astype(np.float32)


def _single(outputs: Shapes) -> tuple[int, int] | None:
    """Rows and columns of an only output `[b, rows, columns]`."""
    shapes = list(outputs.values())
    return (shapes[0][1], shapes[0][2]) if len(shapes) == 1 and len(shapes[0]) == 3 else None


def _cell_count(size: tuple[int, int]) -> int:
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in STRIDES)


def _is_yolox(outputs: Shapes, size: tuple[int, int]) -> bool:
    rows, columns = _single(outputs) or (0, 0)
    return columns > 6 and rows in (_cell_count(size), -1)


def _is_yolov8(outputs: Shapes, size: tuple[int, int]) -> bool:
    rows, columns = _single(outputs) or (0, 0)
    return rows > 4 and columns != 6 and columns in (_cell_count(size), -1)


def _is_yolov10(outputs: Shapes, _: tuple[int, int]) -> bool:
    return (_single(outputs) or (0, 0))[1] == 6


def _is_detr(outputs: Shapes, size: tuple[int, int]) -> bool:
    if len(outputs) == 3:
        return _are_labelled(outputs)
    rows, columns = _single(outputs) or (0, 0)
    # Fewer rows than any detector has queries are the values of a YOLO of other strides.
    queries = 4 < columns <= 1000 and FEWEST_QUERIES <= rows <= MOST_QUERIES
    return queries and not (_is_yolox(outputs, size) or _is_yolov8(outputs, size) or columns == 6)


def _are_labelled(outputs: Shapes) -> bool:
    """Labels and scores `[b, n]` and boxes `[b, n, 4]`; torchvision's have no batch."""
    if not {"labels", "boxes", "scores"} <= outputs.keys():
        return False
    boxes = outputs["boxes"]
    return len(boxes) == 3 and boxes[2] in (4, -1) and len(outputs["labels"]) == len(outputs["scores"]) == 2


def _is_rfdetr(outputs: Shapes, _: tuple[int, int]) -> bool:
    """By its own names: DETR, RT-DETR and YOLO-NAS give boxes and scores that mean something else."""
    if outputs.keys() != {"dets", "labels"}:
        return False
    boxes, logits = outputs["dets"], outputs["labels"]
    return len(boxes) == len(logits) == 3 and boxes[2] == 4 and logits[2] > 1


def _fits_yolox(outputs: Shapes, person: int, size: tuple[int, int]) -> bool:
    rows, columns = _single(outputs) or (0, 0)
    return rows in (_cell_count(size), -1) and _holds(columns, 5 + person)


def _fits_yolov8(outputs: Shapes, person: int, _: tuple[int, int]) -> bool:
    return _holds((_single(outputs) or (0, 0))[0], 4 + person)


def _fits_yolov10(outputs: Shapes, _person: int, _size: tuple[int, int]) -> bool:
    return (_single(outputs) or (0, 0))[1] in (6, -1)


def _fits_detr(outputs: Shapes, person: int, _: tuple[int, int]) -> bool:
    if len(outputs) > 1:
        return _are_labelled(outputs)
    return _holds((_single(outputs) or (0, 0))[1], 4 + person)


def _fits_rfdetr(outputs: Shapes, person: int, _: tuple[int, int]) -> bool:
    shapes = sorted(outputs.values(), key=lambda shape: shape[-1:] != (4,))
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes):
        return False
    return shapes[0][2] in (4, -1) and _holds(shapes[1][2], person)


def _holds(length: int, index: int) -> bool:
    """Whether an axis of this length, -1 where dynamic, has this index."""
    return length == -1 or index < length


YOLOX = DetectorLayout(
    decode=_yolox,
    takes="one [n, cells, 5 + classes]",
    fits=_fits_yolox,
    usual={"fit": "top_left", "colour": "bgr", "scale": 1.0},
    recognises=_is_yolox,
    nvinfer=NvinferParser(function="GaitstreamParseYolox"),
)
YOLOV8 = DetectorLayout(
    decode=_yolov8,
    takes="one [n, 4 + classes, cells]",
    fits=_fits_yolov8,
    recognises=_is_yolov8,
    nvinfer=NvinferParser(function="GaitstreamParseYolov8"),
)
YOLOV10 = DetectorLayout(
    decode=_yolov10,
    takes="one [n, people, 6]",
    fits=_fits_yolov10,
    recognises=_is_yolov10,
    end_to_end=True,
    nvinfer=NvinferParser(function="GaitstreamParseYolov10"),
)
DETR = DetectorLayout(
    decode=_detr,
    takes="labels [n, people], boxes [n, people, 4] and scores [n, people], or one [n, people, 4 + classes]",
    fits=_fits_detr,
    usual={"fit": "stretch"},
    recognises=_is_detr,
    end_to_end=True,
    nvinfer=NvinferParser(function="GaitstreamParseDetr"),
)
RFDETR = DetectorLayout(
    decode=_rfdetr,
    takes="boxes [n, people, 4] and logits [n, people, classes]",
    fits=_fits_rfdetr,
    # RF-DETR keeps COCO's original numbering, in which a person is 1.
    usual={"fit": "stretch", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "person": 1},
    recognises=_is_rfdetr,
    end_to_end=True,
    nvinfer=NvinferParser(function="GaitstreamParseRfdetr"),
)

_grids: dict[tuple[int, int], tuple[Floats, Floats]] = {}


def _cells(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Cell indices `[cells, 2]` (x, y) and strides `[cells, 1]` of a YOLOX head, kept per input size."""
    if size not in _grids:
        points, strides = [], []
        for stride in STRIDES:
            y, x = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
            points.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full((x.size, 1), stride))
        _grids[size] = (np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32))
    return _grids[size]


def _corners(boxes: NDArray[Any]) -> Floats:
    """Centre and size `[n, 4]` to xyxy."""
    boxes = boxes.astype(np.float32, copy=False)
    half = boxes[:, 2:] / 2
    return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def _to_pixels(size: tuple[int, int]) -> Floats:
    return np.array([size[1], size[0], size[1], size[0]], np.float32)

"""`manifest.json`: the contract between whoever exports a gait model and everything that runs it.

The pipeline never asks what a model is called. It asks what the model needs of a person (`Manifest.needs`),
what is kept of a window's frames until the window closes (`Manifest.keeps`), and which graphs turn that into
an embedding (`Manifest.shape`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.engines.base import Precision

SCHEMA = 1

ModelName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Name of a model family: lower case, digits, `_`, `.`, `-`."""
Pooling = Literal["max", "sequence"]
Keeps = Literal["maximum", "maps", "inputs"]


class InputKind(StrEnum):
    """What a graph looks at; the values are those of the files, `crop` and `pose` are read as well."""

    CROP = "crops"
    """RGB crops uint8 `[n, 3, height, width]`, input `crops`; where the graph has an input `ratios`, also the
    boxes' width over height float32 `[n]`."""
    POSE = "parts"
    """Joint heatmaps. With an `alignment`: aligned parts float32 `[n, 1 + groups, height, width]`, input
    `parts`. Without: the pose model's own float32 `[n, 17, 64, 48]`, input `heatmaps`."""
    SILHOUETTE = "silhouette"
    """Masks, 1 inside the person, float32 `[n, 1, height, width]`, input `silhouettes`."""
    SKELETON_MAP = "skeleton_map"
    """Joints and limbs drawn from keypoints, float32 `[n, 2, height, width]`, input `skeleton_maps`."""
    JOINTS = "joints"
    """COCO joints, x and y in pixels of the picture and score, float32 `[n, 17, 3]`, input `joints`; of a
    clip `[n, 17, frames, 3]`."""
    REPRESENTATION = "representation"
    """Pictures in 0..1 that a data set stores and the pipeline cannot make (parsing, flow), float32
    `[n, channels, height, width]`, input `representations`."""

    @classmethod
    def _missing_(cls, value: object) -> InputKind | None:
        return {"crop": cls.CROP, "pose": cls.POSE}.get(str(value))


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the manifest.

    `LATER` names the fields that bundles of the first version do not have. They stand in the file only where
    they differ from their default, so that an old bundle keeps its fingerprint.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()


class InputContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input of the frame or clip graph; see `InputKind` for its name, type and shape.

    A clip graph takes the same with the frames of a window as third axis: `[n, channels, frames, height,
    width]`.
    """

    kind: InputKind
    height: int
    width: int
    channels: int
    crop_rule: Literal["pad_to_aspect", "pose", "segment"]
    """What is cut out of the picture. `pad_to_aspect`: height fits, width padded with black or cut. `pose`:
    the pose model's rule, box x 1.25, zero padded. `segment`: the same, at the segmentation model's size."""
    colour: Literal["rgb"] = "rgb"
    preparation: Literal["general", "ccpg"] = "general"
    """By which published rule silhouettes are aligned: CCPG's own, or that of all other data sets."""

    LATER: ClassVar[frozenset[str]] = frozenset({"preparation"})


class AlignmentContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pose-guided heatmap alignment (PGHA) and the merging of joints into parts."""

    groups: tuple[tuple[int, ...], ...]
    """Joint indices merged (maximum) into each part; the global part over all joints comes first."""
    gamma_deg: float = 5.0
    """Frames whose spine tilt is at most this keep identity matrices."""
    small_angle: Literal["identity", "align"] = "identity"
    """What happens at or under `gamma_deg`: nothing at all, or rotation and translation all the same."""
    target_xy: tuple[float, float] = (24.0, 16.0)
    """Where the neck goes, in heatmap pixels."""
    normalization: Literal["fixed", "tracklet"] = "fixed"
    """`tracklet`: by the minimum and maximum over the window's frames, so that no frame is encoded before the
    window closes."""
    min_pose_score: float = 0.4
    """Frames whose mean joint score is lower are dropped."""


class SkeletonContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How keypoints are drawn as skeleton maps (SkeletonGait, AAAI 2024, section 3.1)."""

    sigma_px: float = 8.0
    """Spread of joints and limbs on the canvas."""
    canvas_px: int = 128
    """Side of the square canvas the person is drawn on, centred at the hips, before it is cut and resized."""


class ClipContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many frames the clip graph of a model whose convolutions mix frames takes."""

    min_frames: int = 1
    """Fewest in a window."""
    max_frames: int | None = None
    """Most in a window; equal to `min_frames` for a graph of fixed length. None: any number."""
    grouping: int = 1
    """Their number is a multiple of this: the product of the graph's temporal strides."""
    context: int | None = None
    """Frames on each side that one output frame depends on. None: all of them."""
    repeats: bool = False
    """Shorter windows are repeated as a whole until they are long enough, as the published code does."""

    LATER: ClassVar[frozenset[str]] = frozenset({"repeats"})

    def lengthen(self, window: NDArray[Any]) -> NDArray[Any]:
        """A window `[frames, ...]` repeated until it is long enough, where this model does that."""
        if not self.repeats or not 0 < len(window) < self.min_frames:
            return window
        return np.concatenate([window] * -(-self.min_frames // len(window)))

    def fit(self, frames: int) -> int | None:
        """How many of a window's frames the graph takes; None when there are too few."""
        most = frames if self.max_frames is None else min(frames, self.max_frames)
        fitted = most - most % self.grouping
        return fitted if fitted >= max(self.min_frames, 1) else None

    def __str__(self) -> str:
        most = "any number of" if self.max_frames is None else f"{self.max_frames}"
        multiple = f", a multiple of {self.grouping}" if self.grouping > 1 else ""
        return f"{self.min_frames} to {most} frames{multiple}"


class FeatureContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape of one output of the frame graph for one frame, and how it is pooled over the window."""

    channels: int
    height: int
    width: int
    pooling: Pooling = "max"
    """`max`: the element-wise maximum over frames, `[n, channels, height, width]` into the head. `sequence`:
    all frames in order, `[n, frames, channels, height, width]`, for heads with temporal layers."""

    LATER: ClassVar[frozenset[str]] = frozenset({"pooling"})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width


class EmbeddingContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape and meaning of the embedding `[parts, dim]`."""

    parts: int
    dim: int
    tap: str
    metric: Literal["mean_part_l2", "mean_part_cosine"] = "mean_part_l2"

    @property
    def by_cosine(self) -> bool:
        """Whether embeddings are compared by their directions alone."""
        return self.metric == "mean_part_cosine"


class CropContract(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What DeepStream cuts out of the picture for the graph `deepstream`."""

    height: int
    width: int
    rule: Literal["pad_to_aspect", "pose", "segment"]


class Graphs(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """File names of one precision's graphs, relative to the bundle: `frame` and `head`, or `clip`.

    A model whose windows share chunks has `chunk` and `head` beside `clip`; see `models.chunks`.
    """

    frame: str | None = None
    head: str | None = None
    align: str | None = None
    """Heatmaps and keypoints to aligned parts in standard ONNX operators."""
    deepstream: str | None = None
    """For nvinfer: raw 0..255 pixels of one crop to what is kept of a frame, see `Manifest.keeps`."""
    deepstream_plugin: str | None = None
    """As `deepstream`, with an operator of our TensorRT plugin in place of standard ones."""
    clip: str | None = None
    """The whole window to the embedding."""
    chunk: str | None = None
    """A part of a window after another part, for windows that overlap; `head` embeds what they leave."""

    LATER: ClassVar[frozenset[str]] = frozenset({"clip", "chunk", "deepstream_plugin"})


class Manifest(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`."""

    schema: int = SCHEMA
    model: ModelName
    """The family, and unless a configuration says otherwise the name under which embeddings are kept."""
    version: str
    window: Annotated[int, msgspec.Meta(ge=1)] = 30
    input: InputContract
    more_inputs: tuple[InputContract, ...] = ()
    """Of models that look at a person in several ways at once."""
    alignment: AlignmentContract | None = None
    skeleton: SkeletonContract = SkeletonContract()
    feature: FeatureContract | None = None
    """The frame graph's output `features`, the head's input `pooled`; None for a clip model."""
    more_features: dict[str, FeatureContract] = {}
    """Further outputs of the frame graph by name; `x` is the head's input `pooled_x`."""
    clip: ClipContract | None = None
    """Set for a model whose convolutions mix frames: it has a `clip` graph instead of `frame` and `head`."""
    embedding: EmbeddingContract
    nvinfer: CropContract | None = None
    """For inputs other than crops and poses, whose crops follow from them."""
    graphs: dict[str, Graphs]
    """By precision: `fp32`, `fp16`, `int8` and `fp8`; in eight bits the head graph may be fp32's. bf16 is a
    runtime's mode over the fp32 graphs."""
    allowed_precisions: tuple[Precision, ...] = ("fp32",)
    """What the parity report allows `auto` to pick."""
    licence: str
    source: dict[str, str]
    """SHA-256 by source checkpoint file name."""
    fingerprint: str = ""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"more_inputs", "skeleton", "more_features", "clip", "nvinfer"}
    )

    def __post_init__(self) -> None:
        """Raises ValueError where parts contradict each other; for a file it becomes a BundleError."""
        if (self.clip is None) == (self.feature is None):
            raise ValueError("a manifest has either `feature`, for frame and head graphs, or `clip`")
        for precision, graphs in self.graphs.items():
            if missing := [role for role in self.roles if getattr(graphs, role) is None]:
                raise ValueError(f"`graphs.{precision}` has no {' and no '.join(missing)} graph")

    @property
    def roles(self) -> tuple[Literal["frame", "head", "clip"], ...]:
        """The graphs that lead from a model's inputs to its embedding."""
        return ("clip",) if self.clip is not None else ("frame", "head")

    @property
    def shape(self) -> Literal["frame", "clip"]:
        """`frame`: every frame alone, pooled, then a head. `clip`: a window of frames at once."""
        return "frame" if self.clip is None else "clip"

    @property
    def inputs(self) -> tuple[InputContract, ...]:
        """All inputs."""
        return (self.input, *self.more_inputs)

    @property
    def needs(self) -> frozenset[InputKind]:
        """What the pipeline has to provide of a person."""
        return frozenset(contract.kind for contract in self.inputs)

    @property
    def needs_pose(self) -> bool:
        """Whether a pose model has to run."""
        return not self.needs.isdisjoint({InputKind.POSE, InputKind.SKELETON_MAP, InputKind.JOINTS})

    @property
    def features(self) -> dict[str, FeatureContract]:
        """The frame graph's outputs by name; none for a clip model."""
        return {} if self.feature is None else {"features": self.feature, **self.more_features}

    @property
    def keeps(self) -> Keeps:
        """What is kept of a window's frames.

        `maximum`: the maximum of feature maps, whatever their number. `maps`: the feature maps of all frames.
        `inputs`: the frames' inputs, because nothing can be computed before the window closes.
        """
        by_window = self.alignment is not None and self.alignment.normalization == "tracklet"
        if self.clip is not None or by_window:
            return "inputs"
        return "maximum" if all(f.pooling == "max" for f in self.features.values()) else "maps"

    @property
    def min_pose_score(self) -> float:
        """Mean joint score that a frame needs; 0 for a model that looks at no pose."""
        return 0.0 if self.alignment is None else self.alignment.min_pose_score


def to_plain(contract: Contract) -> dict[str, Any]:
    """A contract as plain data, without the later fields that say what was the case before there were any."""
    plain: dict[str, Any] = {}
    for field in msgspec.structs.fields(contract):
        value = getattr(contract, field.name)
        if field.name in contract.LATER and value == field_default(field):
            continue
        plain[field.encode_name] = _plain(value)
    return plain


def field_default(field: msgspec.structs.FieldInfo) -> Any:
    """A field's default, `NODEFAULT` when it has none."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    if isinstance(value, Contract):
        return to_plain(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return msgspec.to_builtins(value)

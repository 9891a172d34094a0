"""The Python API of a gait model: a bundle in, embeddings out.

    from gaitstream.models.recognizer import Recognizer

    model = Recognizer.load("bundles/gait")
    crops, ratios = model.crop(image, boxes)          # one picture, several people
    features = model.encode(crops, ratios)            # each frame on its own
    embedding = model.embed_pooled(model.pool(features))

Frames are encoded one by one and pooled by maximum, so they may come in any batches and in any order, and
frames of different people may share a batch. A `clip` model takes a whole window instead:
`model.embed(frames)`. Distances between embeddings are in `gaitstream.gallery.matching`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Batch, Engine, open_engine
from gaitstream.engines.base import Precision, Progress, no_progress
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.device import Device
from gaitstream.engines.registry import candidates, choose, runtime_named
from gaitstream.errors import BundleError, EngineError, MissingExtraError
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.bundle import Bundle, Role
from gaitstream.models.chunks import ChunkedWindows
from gaitstream.models.crops import Bytes, crop_padded
from gaitstream.models.encoders import (
    CLIPS_AT_ONCE,
    ClipEncoder,
    DelayedEncoder,
    FrameEncoder,
    Head,
    WindowEncoder,
)
from gaitstream.models.inputs import NAMES, Inputs, check_given, largest, pack
from gaitstream.models.manifest import InputKind, Manifest

log = logging.getLogger(__name__)

Alignment = Literal["kernel", "graph"]
T = TypeVar("T")


def sizes_for(role: str, asked: Batch | None = None) -> Batch:
    """The batches to compile a graph for: those asked for, or what suits its role.

    A graph over whole windows has only so many at once as the encoder gives it: what a device sets aside is
    for the largest batch of the longest windows.
    """
    if asked is not None:
        return asked
    return Batch(1, CLIPS_AT_ONCE, CLIPS_AT_ONCE) if role == "clip" else Batch()


@dataclass(frozen=True)
class BundleEngines:
    """Opens the graphs of one bundle on one runtime.

    Attributes:
        bundle: the bundle.
        runtime: name of the runtime.
        precision: one that the bundle has and the runtime computes.
        options: the rest of what `open_engine` takes.
    """

    bundle: Bundle
    runtime: str
    precision: Precision
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, role: Role) -> Engine:
        """The engine of one graph."""
        graph = self.bundle.graph(role, self.precision)
        precision = self.bundle.computed_in(role, self.precision)
        options = {**self.options, "batch": sizes_for(role, self.options.get("batch"))}
        return open_engine(graph, self.runtime, precision, **options)

    def chunks(self, stride: int | None) -> ChunkedWindows | None:
        """What computes overlapping windows chunk by chunk; None where they cannot share anything.

        Chunks run on CPUs alone: on a device they would be copied to the host and back.
        """
        clip = self.bundle.manifest.clip
        if stride is None or clip is None or clip.context is None or stride < 2 * clip.context:
            return None
        if not self.bundle.holds("chunk", self.precision):
            return None
        if runtime_named(self.runtime).probe(self.options.get("device")).accelerator:
            return None
        return ChunkedWindows(self.open("chunk"), self.open("head"), stride)

    def aligner(self, alignment: Alignment = "kernel") -> HeatmapAligner | None:
        """What turns heatmaps into parts, for a bundle that takes parts.

        Raises:
            BundleError: its graph cannot do what the bundle asks for.
        """
        contract = self.bundle.manifest.alignment
        if contract is None:
            return None
        if alignment == "kernel":
            return HeatmapAligner(contract)
        if contract.normalization == "tracklet":
            raise BundleError(
                f"{self.bundle.root} normalises over the tracklet, which its align graph cannot do: "
                "use alignment='kernel'"
            )
        # It always runs in fp32 on the CPU: it is small, and its thresholds are exact there.
        graph = self.bundle.graph("align", "fp32")
        options = {key: self.options[key] for key in ("threads", "cache") if key in self.options}
        return HeatmapAligner(contract, open_engine(graph, "openvino", "fp32", **options))


class Recognizer:
    """A gait model ready to run: an encoder of windows, and one of frames where frames are encoded alone.

    Safe to use from several threads.

    Args:
        bundle: the bundle on disk.
        windows: what turns windows into embeddings.
        frames: what encodes frames; None for a clip model, or where frames are encoded elsewhere.

    Attributes:
        bundle: as given.
        manifest: its contract.
        windows: as given.
        frames: as given.
    """

    def __init__(self, bundle: Bundle, windows: WindowEncoder, frames: FrameEncoder | None = None) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.windows = windows
        self.frames = frames

    @classmethod
    def load(
        cls,
        bundle: str | Path | Bundle,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        *,
        batch: Batch | None = None,
        alignment: Alignment = "kernel",
        stride: int | None = None,
        cache: EngineCache | None = None,
        progress: Progress = no_progress,
        device: str | None = None,
    ) -> Self:
        """Open a bundle on the best runtime that works here, or on the one named.

        Args:
            bundle: directory of the bundle.
            runtime: `tensorrt`, `tensorrt-rtx`, `onnxruntime`, `openvino` or `auto`.
            precision: `fp32`, `fp16`, `bf16`, `int8`, `fp8` or `auto`: the lowest the device computes
                natively and the bundle's parity report allows.
            threads: CPU threads; None takes all.
            batch: frames per inference to compile for; None is 1, 16, 64.
            alignment: how heatmaps are turned upright: `kernel` (native code, the faster) or `graph` (the
                bundle's standard ONNX operators).
            stride: frames from the start of one window to the next's, where windows overlap: a clip model of
                bounded context then computes what they share once, if that is faster. None: every window for
                itself.
            cache: where compiled engines are kept.
            progress: told of builds under way.
            device: see `gaitstream.engines.open_engine`.

        Raises:
            BundleError: the bundle is incomplete or was edited, or has no graphs of this precision.
            MissingExtraError: the runtime named is not installed.
            EngineError: no runtime works, or a graph does not compile in this precision.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        options = {
            "threads": threads, "batch": batch, "cache": cache, "progress": progress, "device": device
        }  # fmt: skip
        return on_best_runtime(
            opened, runtime, precision, options, lambda engines: cls._open(engines, alignment, stride)
        )

    @classmethod
    def _open(cls, engines: BundleEngines, alignment: Alignment, stride: int | None) -> Self:
        bundle = engines.bundle
        if bundle.manifest.shape == "clip":
            clip = ClipEncoder(bundle.manifest, engines.open("clip"), engines.aligner(alignment))
            shared = engines.chunks(stride)
            if shared is not None:
                clip.share(shared)
            return cls(bundle, clip)
        frames = FrameEncoder(bundle.manifest, engines.open("frame"), engines.aligner(alignment))
        head = Head(bundle.manifest, engines.open("head"))
        return cls(
            bundle, DelayedEncoder(frames, head) if bundle.manifest.keeps == "inputs" else head, frames
        )

    @property
    def fingerprint(self) -> str:
        """The model's identity: embeddings of different fingerprints cannot be compared."""
        return self.manifest.fingerprint

    @property
    def engine(self) -> Engine:
        """What runs the larger of its graphs: the frame graph, or the clip graph."""
        return self.windows.engine if self.frames is None else self.frames.engine

    @property
    def on_device(self) -> Device | None:
        """Where embeddings are made, for what follows them there; None on the host."""
        return self.windows.engine.on_device

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.engine.runtime

    @property
    def precision(self) -> str:
        """What the frame graph, or the clip graph, computes in."""
        return self.engine.precision

    def crop(self, image: Bytes, boxes: Floats) -> tuple[Bytes, Floats]:
        """Cut people out of a picture by the crop rule `pad_to_aspect`; see `crops.crop_padded`.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            boxes: xyxy pixels `[n, 4]`.

        Returns:
            Crops RGB uint8 `[n, 3, height, width]` and ratios float32 `[n]`.

        Raises:
            BundleError: the model takes no crops.
        """
        contract = self.manifest.input
        if contract.kind is not InputKind.CROP:
            takes, how = _TAKES[contract.kind]
            raise BundleError(f"{self.manifest.model} takes {takes}, not crops: {how}")
        return crop_padded(image, boxes, contract.height, contract.width)

    def encode(
        self, frames: NDArray[Any], extra: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """Encode frames, each on its own.

        By what the model takes:

        - crops: `encode(crops, ratios)`, crops RGB uint8 `[n, 3, height, width]`, ratios float32 `[n]`;
        - poses: `encode(heatmaps, keypoints)`, heatmaps `[n, 17, 64, 48]` float32 or float16 and keypoints
          float32 `[n, 17, 3]` in heatmap pixels, which None takes from the maps' peaks; or `encode(parts)`
          with maps that are aligned and merged already, float32. Where the manifest says `normalization:
          tracklet` all frames of a call are one tracklet, unless `segments` numbers the tracklet of each
          frame `[n]`;
        - silhouettes and skeleton maps: `encode(maps)`, uint8 `[n, channels, height, width]`, floats in 0..1
          or bools.

        Models of several inputs take them by name: `embed_inputs(inputs)`.

        Returns:
            Features float32 `[n, channels, height, width]`.

        Raises:
            EngineError: a shape or dtype is wrong, values are not finite, or frames of this model cannot be
                encoded alone.
        """
        if self.frames is None:
            raise EngineError(
                f"{self.manifest.model} takes the frames of a window at once: give them to embed()"
            )
        return self.frames.encode(self._inputs(frames, extra), segments)

    def align(
        self, heatmaps: NDArray[Any], keypoints: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """Turn joint heatmaps upright and merge them into parts `[n, 1 + groups, 64, 48]`.

        Arguments as for `encode`.

        Raises:
            BundleError: the model takes no aligned parts.
        """
        aligner = None if self.frames is None else self.frames.aligner
        if aligner is None:
            raise BundleError(f"{self.manifest.model} has no alignment: it takes {_TAKES[self._kind][0]}")
        return aligner.align(heatmaps, keypoints, segments)

    def accepts(self, keypoints: Floats) -> NDArray[np.bool_]:
        """Which frames are good enough to encode, bool `[n]`.

        Args:
            keypoints: `[n, 17, 3]`; a frame's mean joint score must reach the manifest's `min_pose_score`.
        """
        return np.asarray(keypoints[:, :, 2].mean(axis=1) >= self.manifest.min_pose_score)

    def pool(self, features: Floats) -> Floats:
        """Element-wise maximum over frames: `[n, c, h, w]` to `[c, h, w]`.

        Pooled maps pool again, in any order and grouping, to the same result.

        Raises:
            EngineError: there is no frame, or the head of this model takes the frames in their order.
        """
        if self.manifest.keeps == "maps":
            raise EngineError(
                f"the head of {self.manifest.model} takes the frames in order: embed_windows([features])"
            )
        return largest(features)

    def embed_pooled(self, pooled: Floats) -> Floats:
        """Embed pooled maps: `[c, h, w]` to `[parts, dim]`, or `[n, c, h, w]` to `[n, parts, dim]`.

        Raises:
            EngineError: the model pools no frames.
        """
        head = self.windows.head if isinstance(self.windows, DelayedEncoder) else self.windows
        if not isinstance(head, Head):
            raise EngineError(f"{self.manifest.model} takes the frames of a window at once: embed(frames)")
        single = pooled.ndim < 4 if len(self.manifest.features) == 1 else pooled.ndim < 2
        embeddings = head.embed_pooled(pooled[None] if single else pooled)
        return embeddings[0] if single else embeddings

    def embed(
        self, frames: NDArray[Any], extra: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """One tracklet's embedding float32 `[parts, dim]`; arguments as for `encode`."""
        if self.frames is None:
            (embedding,) = self.embed_windows([pack(self.manifest, self._inputs(frames, extra))])
            return np.asarray(embedding, np.float32)
        features = self.encode(frames, extra, segments=segments)
        if self.manifest.keeps == "maps":
            (embedding,) = self.embed_windows([features])
            return np.asarray(embedding, np.float32)
        return self.embed_pooled(self.pool(features))

    def embed_inputs(self, inputs: Inputs) -> Floats:
        """One window's embedding float32 `[parts, dim]` from a row of every input per frame, see `inputs`.

        Raises:
            EngineError: an input is missing, or wrong in type, shape, length or values; or there is no frame.
        """
        check_given(inputs)
        if self.frames is None or self.manifest.keeps == "inputs":
            (embedding,) = self.embed_windows([pack(self.manifest, inputs)])
            return np.asarray(embedding, np.float32)
        features = self.frames.encode(inputs)
        if self.manifest.keeps == "maps":
            (embedding,) = self.embed_windows([features])
            return np.asarray(embedding, np.float32)
        return self.embed_pooled(self.pool(features))

    def embed_windows(self, windows: Sequence[NDArray[Any]]) -> Floats:
        """Embeddings `[n, parts, dim]` of what was kept of windows; see `encoders.WindowEncoder`.

        Raises:
            EngineError: a window is empty, or too short for the model.
        """
        if not len(windows):
            contract = self.manifest.embedding
            return np.empty((0, contract.parts, contract.dim), np.float32)
        if not all(window.size for window in windows):
            raise EngineError("a window has no frames: it needs at least one")
        return self.windows.embed_windows(windows)

    def prepare(self, most: int) -> None:
        """Have the engines ready for up to so many frames and windows at once.

        A live run calls this before its cameras are opened, so that no frame waits for a compiler.
        """
        self.windows.prepare(most)
        if self.frames is not None:
            self.frames.prepare(most)

    def close(self) -> None:
        """Free the engines."""
        self.windows.close()
        if self.frames is not None:
            self.frames.close()

    @property
    def _kind(self) -> InputKind:
        return self.manifest.input.kind

    def _inputs(self, frames: NDArray[Any], extra: Floats | None) -> dict[str, NDArray[Any]]:
        """The arguments of `encode` by name."""
        inputs = self._by_name(frames, extra)
        check_given(inputs)
        return inputs

    def _by_name(self, frames: NDArray[Any], extra: Floats | None) -> dict[str, NDArray[Any]]:
        if self._kind is InputKind.POSE:
            if extra is None and self._has_parts(frames):
                return {"parts": np.asarray(frames, np.float32)}
            return {"heatmaps": frames} if extra is None else {"heatmaps": frames, "keypoints": extra}
        inputs = {NAMES[self._kind]: frames}
        if self._kind is InputKind.CROP and "ratios" in self.engine.inputs:
            if extra is None:
                raise EngineError("encode(crops, ratios) needs the width/height ratio of every crop's box")
            inputs["ratios"] = np.asarray(extra, np.float32)
        return inputs

    def _has_parts(self, maps: NDArray[Any]) -> bool:
        """Whether maps have as many channels as the model's parts, and so are parts."""
        return self.manifest.alignment is not None and maps.shape[1] == self.manifest.input.channels


_TAKES: dict[InputKind, tuple[str, str]] = {
    InputKind.CROP: ("crops", "cut people out with Recognizer.crop"),
    InputKind.POSE: ("heatmaps", "cut people out with PoseModel.crop"),
    InputKind.SILHOUETTE: ("silhouettes", "cut people out with Segmenter.crop"),
    InputKind.SKELETON_MAP: ("skeleton maps", "draw them with skeleton_maps.draw"),
    InputKind.JOINTS: ("joints", "find them with PoseModel and pose.to_image"),
    InputKind.REPRESENTATION: ("what a data set stores", "take them from its files"),
}


def on_best_runtime(
    bundle: Bundle,
    runtime: str,
    precision: str,
    options: dict[str, Any],
    use: Callable[[BundleEngines], T],
) -> T:
    """Open graphs of a bundle on the runtime named, or on the first that can.

    Args:
        bundle: the bundle.
        runtime: its name, or `auto`.
        precision: one of them, or `auto`.
        options: the rest of what `open_engine` takes.
        use: opens what is wanted.

    Raises:
        MissingExtraError: the runtime named is not installed.
        EngineError: no runtime works, or a graph does not compile in this precision.
    """
    manifest = bundle.manifest
    failures = []
    for name in candidates(runtime):
        try:
            choice = choose(
                name,
                precision,
                allowed=manifest.allowed_precisions,
                stored=manifest.graphs.keys(),
                device=options.get("device"),
            )
            return use(BundleEngines(bundle, name, cast("Precision", choice.precision), options))
        except (EngineError, MissingExtraError) as error:
            if runtime != "auto":
                raise
            log.warning("%s cannot run %s, trying the next runtime: %s", name, bundle.root, error)
            failures.append(f"{name}: {error}")
    raise EngineError(f"no runtime can run {bundle.root}: {'; '.join(failures) or 'none is installed'}")

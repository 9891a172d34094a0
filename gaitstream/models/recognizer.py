"""The Python API of a gait model: a bundle in, embeddings out.

    from gaitstream.models.recognizer import Recognizer

    model = Recognizer.load("biggait.bundle")
    crops, ratios = model.crop(image, boxes)          # one picture, several people
    features = model.encode(crops, ratios)            # each frame on its own
    embedding = model.embed_pooled(model.pool(features))

Frames are encoded one by one and pooled by maximum, so they may come in any batches and in any order, and
frames of different people may share a batch. Distances between embeddings are in
`gaitstream.gallery.matching`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import Batch, Engine, open_engine
from gaitstream.engines.base import Feeds, Precision, Progress, no_progress
from gaitstream.engines.registry import choose, ranked, survey
from gaitstream.errors import BundleError, EngineError
from gaitstream.models.bundle import Bundle
from gaitstream.models.manifest import Manifest

if TYPE_CHECKING:
    from gaitstream.engines.cache import EngineCache

log = logging.getLogger(__name__)

JOINTS = 17
CHUNK = 8
"""Frames per inference on a CPU: measured best for both models, and it bounds the memory."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Alignment = Literal["kernel", "graph"]


class Recognizer:
    """A bundle whose graphs are ready to run. Safe to use from several threads.

    Attributes:
        bundle: the bundle on disk.
        manifest: its contract.
        frame: the engine of the frame graph.
        head: the engine of the head graph.
    """

    def __init__(
        self, bundle: Bundle, frame: Engine, head: Engine, align: Engine | None = None, *, chunk: int = CHUNK
    ) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.frame = frame
        self.head = head
        self._align = align
        self._chunk = min(chunk, frame.max_batch or chunk)

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
        cache: EngineCache | None = None,
        progress: Progress = no_progress,
    ) -> Self:
        """Open a bundle on the best runtime that works here, or on the one named.

        Args:
            bundle: directory of the bundle.
            runtime: `tensorrt`, `tensorrt-rtx`, `onnxruntime`, `openvino` or `auto`.
            precision: `fp32`, `fp16`, `bf16` or `auto`: the lowest the device computes natively and the
                bundle's parity report allows.
            threads: CPU threads; None takes all.
            batch: frames per inference to compile for; None is 1, 16, 64.
            alignment: how GaitHeat's heatmaps are turned upright: `kernel` (native code, the faster) or
                `graph` (the bundle's standard ONNX operators).
            cache: where compiled engines are kept.
            progress: told of builds under way.

        Raises:
            BundleError: the bundle is incomplete or was edited, or has no graphs of this precision.
            MissingExtraError: the runtime named is not installed.
            EngineError: no runtime works, or a graph does not compile in this precision.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        manifest = opened.manifest
        names = [runtime] if runtime != "auto" else [name for name, _ in ranked(survey())]
        failures = []
        for name in names:
            try:
                choice = choose(
                    name, precision, allowed=manifest.allowed_precisions, stored=manifest.graphs.keys()
                )
                settled = cast("Precision", choice.precision)
                options: dict[str, Any] = {
                    "threads": threads, "batch": batch, "cache": cache, "progress": progress
                }  # fmt: skip
                frame = open_engine(opened.graph("frame", settled), name, settled, **options)
                head = open_engine(opened.graph("head", settled), name, settled, **options)
                align = _open_align(opened, threads, cache) if alignment == "graph" else None
                return cls(opened, frame, head, align)
            except EngineError as error:
                if runtime != "auto":
                    raise
                log.warning("%s cannot run %s, trying the next runtime: %s", name, opened.root, error)
                failures.append(f"{name}: {error}")
        raise EngineError(f"no runtime can run {opened.root}: {'; '.join(failures) or 'none is installed'}")

    @property
    def fingerprint(self) -> str:
        """The model's identity: embeddings of different fingerprints cannot be compared."""
        return self.manifest.fingerprint

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.frame.runtime

    @property
    def precision(self) -> str:
        """What the frame graph computes in."""
        return self.frame.precision

    def crop(self, image: Bytes, boxes: Floats) -> tuple[Bytes, Floats]:
        """Cut people out of a picture by the bundle's crop rule `pad_to_aspect`.

        A box is rounded to whole pixels and cut at the image's edges; what is left is resized to the crop's
        height, aspect kept, then centred in black or cut at both sides. Width over height of what is left is
        the ratio, from which the model knows the columns that hold the person. A box outside the image gives
        a black crop of ratio 0.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            boxes: xyxy pixels `[n, 4]`.

        Returns:
            Crops RGB uint8 `[n, 3, 256, 128]` and ratios float32 `[n]`.

        Raises:
            BundleError: the model takes heatmaps; crop with its pose model.
        """
        contract = self.manifest.input
        if contract.crop_rule != "pad_to_aspect":
            raise BundleError(
                f"{self.manifest.model} takes heatmaps, not crops: cut people out with PoseModel.crop"
            )
        return crop_padded(image, boxes, contract.height, contract.width)

    def encode(
        self, frames: NDArray[Any], extra: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """Encode frames, each on its own.

        BigGait: `encode(crops, ratios)` with crops RGB uint8 `[n, 3, 256, 128]` and ratios float32 `[n]`.

        GaitHeat: `encode(heatmaps, keypoints)` with heatmaps `[n, 17, 64, 48]` float32 or float16 and
        keypoints float32 `[n, 17, 3]` in heatmap pixels, which None takes from the maps' peaks; or
        `encode(parts)` with maps that are aligned and merged already, `[n, 1 + groups, 64, 48]` float32.
        Where the manifest says `normalization: tracklet` all frames of a call are one tracklet, unless
        `segments` numbers the tracklet of each frame `[n]`.

        Returns:
            Features float32 `[n, channels, height, width]`.

        Raises:
            EngineError: a shape or dtype is wrong.
        """
        if self.manifest.input.kind == "crops":
            ratios = np.ones(len(frames), np.float32) if extra is None else np.asarray(extra, np.float32)
            if extra is None:
                raise EngineError("encode(crops, ratios) needs the width/height ratio of every crop's box")
            return self._run(self.frame, {"crops": frames, "ratios": ratios}, "features")
        parts = self.align(frames, extra, segments=segments)
        return self._run(self.frame, {"parts": parts}, "features")

    def align(
        self, heatmaps: NDArray[Any], keypoints: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """Turn joint heatmaps upright and merge them into parts `[n, 1 + groups, 64, 48]`.

        Maps that already have as many channels as the model takes parts, and come without keypoints, are
        taken as they are. Arguments as for `encode`.
        """
        contract = self.manifest.alignment
        if contract is None:
            raise BundleError(f"{self.manifest.model} has no alignment: it takes crops")
        if keypoints is None and heatmaps.shape[1] == self.manifest.input.channels:
            return np.asarray(heatmaps, np.float32)
        if self._align is not None:
            if keypoints is None:
                from gaitstream.models.pose import keypoints as peaks

                keypoints = peaks(np.asarray(heatmaps, np.float32))
            feeds = {"heatmaps": np.asarray(heatmaps, np.float32), "keypoints": keypoints}
            return self._run(self._align, feeds, "parts")
        from gaitstream.kernels import align

        return align(
            heatmaps,
            keypoints,
            groups=contract.groups,
            gamma_deg=contract.gamma_deg,
            small_angle=contract.small_angle,
            target_xy=contract.target_xy,
            normalization=contract.normalization,
            segments=segments,
        ).parts

    def accepts(self, keypoints: Floats) -> NDArray[np.bool_]:
        """Which frames are good enough to encode, bool `[n]`.

        Args:
            keypoints: `[n, 17, 3]`; a frame's mean joint score must reach the manifest's `min_pose_score`.
        """
        contract = self.manifest.alignment
        minimum = contract.min_pose_score if contract is not None else 0.0
        return np.asarray(keypoints[:, :, 2].mean(axis=1) >= minimum)

    def pool(self, features: Floats) -> Floats:
        """Element-wise maximum over frames: `[n, c, h, w]` to `[c, h, w]`.

        Pooled maps pool again, in any order and grouping, to the same result.

        Raises:
            EngineError: there is no frame.
        """
        if len(features) == 0:
            raise EngineError("there are no frames to pool: a tracklet needs at least one")
        pooled: Floats = features.max(axis=0)
        return pooled

    def embed_pooled(self, pooled: Floats) -> Floats:
        """Embed pooled maps: `[c, h, w]` to `[parts, dim]`, or `[n, c, h, w]` to `[n, parts, dim]`."""
        single = pooled.ndim == 3
        batch = pooled[None] if single else pooled
        embeddings = self._run(self.head, {"pooled": np.asarray(batch, np.float32)}, "embedding")
        return embeddings[0] if single else embeddings

    def embed(
        self, frames: NDArray[Any], extra: Floats | None = None, *, segments: NDArray[Any] | None = None
    ) -> Floats:
        """One tracklet's embedding float32 `[parts, dim]`: `encode`, `pool`, `embed_pooled`."""
        return self.embed_pooled(self.pool(self.encode(frames, extra, segments=segments)))

    def close(self) -> None:
        """Free the engines."""
        for engine in (self.frame, self.head, self._align):
            if engine is not None:
                engine.close()

    def _run(self, engine: Engine, feeds: Feeds, output: str) -> Floats:
        """Run in chunks of the size that suits the engine, several under way at once."""
        count = len(next(iter(feeds.values())))
        if count == 0:
            return np.empty((0, *engine.outputs[output].shape[1:]), np.float32)
        pending = [
            engine.submit({name: array[start : start + self._chunk] for name, array in feeds.items()})
            for start in range(0, count, self._chunk)
        ]
        results = [one.result()[output] for one in pending]
        return results[0] if len(results) == 1 else np.concatenate(results)


def crop_padded(image: Bytes, boxes: Floats, height: int, width: int) -> tuple[Bytes, Floats]:
    """The crop rule `pad_to_aspect`; see `Recognizer.crop`.

    Args:
        image: BGR uint8 `[rows, columns, 3]`.
        boxes: xyxy pixels `[n, 4]`.
        height: of the crops.
        width: of the crops.

    Returns:
        Crops RGB uint8 `[n, 3, height, width]`, ratios float32 `[n]`.
    """
    import cv2

    rows, columns = image.shape[:2]
    edges = np.rint(np.asarray(boxes, np.float64).reshape(-1, 4)).astype(int)
    edges = edges.clip(0, [columns, rows, columns, rows])
    crops = np.zeros((len(edges), 3, height, width), np.uint8)
    ratios = np.zeros(len(edges), np.float32)
    for index, (x1, y1, x2, y2) in enumerate(edges):
        if x2 <= x1 or y2 <= y1:
            continue
        ratios[index] = (x2 - x1) / (y2 - y1)
        fitted = max(int((x2 - x1) * height / (y2 - y1)), 1)
        person = cv2.resize(image[y1:y2, x1:x2], (fitted, height), interpolation=cv2.INTER_LINEAR)
        spare = width - fitted
        # Floor division rounds towards minus infinity: an odd surplus loses one column more on the left.
        if spare >= 0:
            left = spare // 2
            _to_planes(person, crops[index, :, :, left : left + fitted])
        else:
            first = -(spare // 2)
            _to_planes(person[:, first : first + width], crops[index])
    return crops, ratios


def _to_planes(picture: NDArray[Any], planes: Bytes) -> None:
    """Write a BGR picture `[height, width, 3]` into RGB planes `[3, height, width]`, which may be a view."""
    import cv2

    cv2.split(picture, [planes[2], planes[1], planes[0]])


def _open_align(bundle: Bundle, threads: int | None, cache: EngineCache | None) -> Engine | None:
    """The alignment always runs in fp32 on the CPU: it is small, and its thresholds are exact there."""
    if bundle.manifest.alignment is None:
        return None
    if bundle.manifest.alignment.normalization == "tracklet":
        raise BundleError(
            f"{bundle.root} normalises over the tracklet, which its align graph cannot do: "
            "use alignment='kernel'"
        )
    return open_engine(bundle.graph("align", "fp32"), "openvino", "fp32", threads, cache=cache)

"""Fixed inputs for comparisons, and what the PyTorch modules make of them.

Walkers drawn from a small kinematic model: enough structure that masks, alignment and part maps are all
exercised, and several people, so that rank order means something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitstream.errors import ExportError
from gaitstream.export import pgha
from gaitstream.export.biggait import CROP, BigGait
from gaitstream.export.gaitheat import HEATMAP, GaitHeat
from gaitstream.export.vit import Block
from gaitstream.models.manifest import AlignmentContract

Array = NDArray[Any]
PEOPLE, CLIPS, FRAMES = 3, 2, 2
SEED = 20240601
LIMBS = (
    (5, 7, 0.055), (7, 9, 0.05), (6, 8, 0.055), (8, 10, 0.05),
    (11, 13, 0.08), (13, 15, 0.065), (12, 14, 0.08), (14, 16, 0.065),
    (5, 11, 0.12), (6, 12, 0.12), (5, 6, 0.1), (11, 12, 0.12), (0, 0, 0.15),
)  # fmt: skip
"""Pairs of joints and the thickness between them, as a share of the height over 2."""
MARGIN = 1e-5
"""Smallest mask logit of a usable input: nearer to zero, rounding alone decides a pixel."""


@dataclass(frozen=True)
class Case:
    """Inputs and the reference's results.

    Attributes:
        feeds: inputs of the frame graph.
        sequences: index of each frame's sequence, `[frames]`.
        features: `[frames, c, h, w]`.
        embedding: `[sequences, parts, dim]`.
        trace: computes the reference's values at the frame graph's taps.
        align_feeds: inputs of the align graph, where the model has one.
        parts: its result.
    """

    feeds: dict[str, Array]
    sequences: NDArray[np.int64]
    features: Array
    embedding: Array
    trace: Callable[[], dict[str, Array]]
    align_feeds: dict[str, Array] | None = None
    parts: Array | None = None


def pool(features: Array, sequences: NDArray[np.int64]) -> Array:
    """Maximum over the frames of each sequence: `[frames, ...]` to `[sequences, ...]`."""
    return np.stack([features[sequences == index].max(0) for index in range(sequences.max() + 1)])


def walker(person: int, phase: float, lean_deg: float) -> NDArray[np.float64]:
    """Joints of a walking person, `[17, 2]` (x, y) in units of the height, the hip at the origin."""
    rng = np.random.default_rng([SEED, person])
    stride, swing, girth = rng.uniform((0.3, 0.25, 0.08), (0.6, 0.7, 0.13))
    joints = np.zeros((17, 2))
    joints[0] = (0.02, -0.42)
    joints[1:5] = [(0.03, -0.44), (0.0, -0.44), (0.04, -0.43), (-0.02, -0.43)]
    for side, sign in ((0, 1.0), (1, -1.0)):
        leg, arm = sign * stride * np.sin(phase), -sign * swing * np.sin(phase)
        bend = 0.5 * max(0.0, sign * np.cos(phase))
        shoulder, hip = np.array((sign * girth, -0.3)), np.array((sign * girth * 0.7, 0.0))
        elbow = shoulder + 0.16 * np.array((np.sin(arm), np.cos(arm)))
        knee = hip + 0.24 * np.array((np.sin(leg), np.cos(leg)))
        joints[5 + side], joints[7 + side] = shoulder, elbow
        joints[9 + side] = elbow + 0.15 * np.array((np.sin(arm + 0.3), np.cos(arm + 0.3)))
        joints[11 + side], joints[13 + side] = hip, knee
        joints[15 + side] = knee + 0.24 * np.array((np.sin(leg - bend), np.cos(leg - bend)))
    lean = np.deg2rad(lean_deg)
    turned: NDArray[np.float64] = joints @ np.array(
        [[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]]
    )
    return turned


def draw_crop(person: int, phase: float, ratio: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A walker before a textured wall, padded with black as the crop rule does, RGB `[3, 256, 128]`."""
    height, width = CROP
    y, x = np.mgrid[:height, :width].astype(np.float64)
    coarse = rng.uniform(40, 150, (3, 9, 5))
    wall = np.kron(coarse, np.ones((32, 32)))[:, :height, :width]
    image = wall + 12 * rng.standard_normal((3, height, width)) + 20 * np.sin(x / 9 + y / 17)
    joints = walker(person, phase, 0.0) * 0.95 * height + (width / 2, 0.48 * height)
    colours = np.random.default_rng([SEED, person, 1]).uniform(20, 240, (len(LIMBS), 3))
    for (a, b, thickness), colour in zip(LIMBS, colours, strict=True):
        inside = _capsule(x, y, joints[a], joints[b]) < thickness * height / 2
        image[:, inside] = colour[:, None] + 6 * rng.standard_normal((3, int(inside.sum())))
    need = int(np.float32(height) * np.float32(ratio))
    left = (width - need) // 2
    outside = (x[0] < left) | (x[0] >= left + need)
    image[..., outside] = 0
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def draw_heatmaps(
    person: int, phase: float, lean_deg: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """One person's heatmaps `[17, 64, 48]` and joints `[17, 3]` in heatmap pixels, float32."""
    height, width = HEATMAP
    joints = walker(person, phase, lean_deg) * 0.8 * height + (width / 2, 0.47 * height)
    joints += rng.normal(0, 0.4, joints.shape) + rng.uniform(-3, 3, 2)
    score = rng.uniform(0.5, 1.0, 17)
    y, x = np.mgrid[:height, :width]
    squared = (x - joints[:, 0, None, None]) ** 2 + (y - joints[:, 1, None, None]) ** 2
    maps = score[:, None, None] * np.exp(-squared / (2 * 2.0**2))
    return maps.astype(np.float32), np.concatenate([joints, score[:, None]], 1).astype(np.float32)


def biggait_case(model: BigGait) -> Case:
    """Twelve crops of three people, two clips each."""
    for attempt in range(4):
        crops, ratios, sequences = _crops(attempt)
        with torch.no_grad():
            images = model.preprocess(torch.from_numpy(crops), torch.from_numpy(ratios))
            inputs = images, torch.from_numpy(ratios)
            maps = model.maps(*inputs)
            if float(maps.mask_logit.abs().min()) < MARGIN:
                continue
            pooled = torch.from_numpy(pool(maps.post.numpy(), sequences))
            return Case(
                {"crops": crops, "ratios": ratios},
                sequences,
                maps.post.numpy(),
                model.head(pooled).numpy(),
                partial(_trace_biggait, model, *inputs),
            )
    raise ExportError(
        "the mask branch gives logits of 0 on every trial input, so its masks are arbitrary: "
        "is the checkpoint's Mask_Branch trained?"
    )


def gaitheat_case(model: GaitHeat, contract: AlignmentContract) -> Case:
    """Twelve poses of three people, upright and leaning."""
    rng = np.random.default_rng(SEED)
    drawn = [draw_heatmaps(person, phase, lean, rng) for person, _, phase, lean in _schedule(rng)]
    heatmaps, keypoints = (np.stack(kind) for kind in zip(*drawn, strict=True))
    sequences = np.repeat(np.arange(PEOPLE * CLIPS), FRAMES)
    with torch.no_grad():
        aligned = pgha.align(
            torch.from_numpy(heatmaps),
            torch.from_numpy(keypoints),
            contract.groups,
            gamma_deg=contract.gamma_deg,
            small_angle=contract.small_angle,
            target_xy=contract.target_xy,
            normalization=contract.normalization,
        )
        features = model.features(aligned.parts)[2].numpy()
        embedding = model.embed("fusion", torch.from_numpy(pool(features, sequences))).after.numpy()
    return Case(
        {"parts": aligned.parts.numpy()},
        sequences,
        features,
        embedding,
        partial(_trace_gaitheat, model, aligned.parts),
        {"heatmaps": heatmaps, "keypoints": keypoints},
        aligned.parts.numpy(),
    )


def _schedule(rng: np.random.Generator) -> list[tuple[int, int, float, float]]:
    """Person, clip, gait phase and lean of every frame; half of the frames lean over gamma."""
    return [
        (person, clip, float(rng.uniform(0, 2 * np.pi)), float(rng.choice([-1, 1]) * (1 + 11 * (frame % 2))))
        for person in range(PEOPLE)
        for clip in range(CLIPS)
        for frame in range(FRAMES)
    ]


def _crops(attempt: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng([SEED, attempt])
    schedule = _schedule(rng)
    ratios = rng.uniform(0.3, 0.62, len(schedule)).astype(np.float32)
    crops = [
        draw_crop(person, phase, float(ratio), rng)
        for (person, _, phase, _), ratio in zip(schedule, ratios, strict=True)
    ]
    return np.stack(crops), ratios, np.repeat(np.arange(PEOPLE * CLIPS), FRAMES)


def _capsule(x: Array, y: Array, a: Array, b: Array) -> Array:
    """Distance of every pixel to the segment from a to b."""
    along = b - a
    span = float(along @ along) or 1.0
    t = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / span, 0, 1)
    distance: Array = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])
    return distance


def _trace_biggait(model: BigGait, images: Tensor, ratios: Tensor) -> dict[str, Array]:
    """The module's values under the names of the frame graph's taps."""
    taps: dict[str, Array] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: Block, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if name == "block0":
                taps["tokens"] = inputs[0].numpy()
            taps[name] = output.numpy()

        return hook

    hooks = [
        block.register_forward_hook(keep(f"block{index}"))
        for index, block in enumerate(model.backbone.blocks)
    ]
    try:
        with torch.no_grad():
            maps = model.maps(images, ratios)
    finally:
        for hook in hooks:
            hook.remove()
    taps["valid"] = maps.valid.numpy()
    taps["mask_logit"] = maps.mask_logit.numpy()
    taps["support"] = (maps.foreground != 0).float()[:, None].numpy()
    taps["denoising"] = maps.denoising.permute(0, 3, 1, 2).numpy()
    taps["appearance"] = maps.appearance.permute(0, 3, 1, 2).numpy()
    taps["fused"] = maps.fused.numpy()
    return taps


def _trace_gaitheat(model: GaitHeat, parts: Tensor) -> dict[str, Array]:
    with torch.no_grad():
        return {f"fused{index}": value.numpy() for index, value in enumerate(model.fused(parts), 1)}

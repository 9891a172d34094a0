"""BigGait's fixed inputs, and what the PyTorch module makes of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitstream.errors import ExportError
from gaitstream.models.biggait.module import BigGait
from gaitstream.models.graphs.conditioning import ATTEMPTS, LOGIT_MARGIN
from gaitstream.models.graphs.vit import TransformerBlock
from gaitstream.models.graphs.walkers import SEED, about, draw_crop, schedule, sequence_index
from gaitstream.models.trained import FEATURES, Case, pool

Array = NDArray[Any]


def make_case(model: BigGait) -> Case:
    """Twelve crops of three people, two clips each; those whose masks rounding decides are drawn anew."""
    crops, ratios, sequences = _crops(0)
    for attempt in range(1, ATTEMPTS + 1):
        with torch.no_grad():
            images = model.preprocess(torch.from_numpy(crops), torch.from_numpy(ratios))
            inputs = images, torch.from_numpy(ratios)
            maps = model.maps(*inputs)
            poor = (maps.mask_logit.abs().flatten(1).amin(1) < LOGIT_MARGIN).numpy()
            if poor.any():
                others, widths, _ = _crops(attempt)
                crops[poor], ratios[poor] = others[poor], widths[poor]
                continue
            pooled = torch.from_numpy(pool(maps.post.numpy(), sequences))
            return Case(
                about(),
                {"crops": crops, "ratios": ratios},
                sequences,
                {FEATURES: maps.post.numpy()},
                model.head(pooled).numpy(),
                partial(_trace, model, *inputs),
            )
    raise ExportError(
        "the mask branch gives logits of 0 on every trial input, so its masks are arbitrary: "
        "is the checkpoint's Mask_Branch trained?"
    )


def foreground(model: BigGait, crops: Array, ratios: Array) -> Array:
    """The module's masks of crops, `[n, 1, 64, 32]`."""
    with torch.no_grad():
        known = torch.from_numpy(ratios)
        maps = model.maps(model.preprocess(torch.from_numpy(crops), known), known)
    return maps.foreground[:, None].numpy()


def _crops(attempt: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng([SEED, attempt])
    plan = schedule(rng)
    ratios = rng.uniform(0.3, 0.62, len(plan)).astype(np.float32)
    crops = [
        draw_crop(person, phase, float(ratio), rng)
        for (person, _, phase, _), ratio in zip(plan, ratios, strict=True)
    ]
    return np.stack(crops), ratios, sequence_index()


def _trace(model: BigGait, images: Tensor, ratios: Tensor) -> dict[str, Array]:
    """The module's values under the names of the frame graph's taps."""
    taps: dict[str, Array] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: TransformerBlock, inputs: tuple[Tensor, ...], output: Tensor) -> None:
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

"""Inputs on which rounding moves a module so little that a comparison tells right from wrong.

A value that decides a pixel may lie so near its threshold that rounding decides: such frames are drawn anew.
And some weights make a network of some inputs a matter of the last bit: the module in float32 is then further
from itself in float64 than a right graph may be from it. Such windows are drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaitstream.errors import ExportError
from gaitstream.models.graphs import windows
from gaitstream.models.graphs.walkers import SEED
from gaitstream.models.manifest import InputContract
from gaitstream.models.trained import Array

CALM = 2e-6
"""Relative noise of a usable window, a fifth of the limit of float32."""
ATTEMPTS = 4
FEWEST = 2
"""Windows that a comparison of distances needs."""
LOGIT_MARGIN = 1e-4
"""Smallest mask logit of a usable frame: rounding moves logits by up to 2.5e-5."""
ROUNDING = 2.0**-24
"""Relative error of a float32 number."""


@dataclass(frozen=True)
class Window:
    """A drawn window.

    Attributes:
        feeds: its frames by input, `[frames, ...]`.
        embedding: what the module makes of it, `[parts, dim]`.
        moved: the same of inputs that rounding moved.
        exact: the same in float64, of inputs as they are.
    """

    feeds: dict[str, Array]
    embedding: Array
    moved: Array
    exact: Array

    @property
    def noise(self) -> float:
        """Relative error that rounding alone brings."""
        return noise_of([self])


def noise_of(found: Sequence[Window]) -> float:
    """Relative error of several windows' embeddings that rounding alone brings."""
    exact = np.stack([one.exact for one in found])
    size = max(float(np.linalg.norm(exact)), 1e-30)
    others = ([one.embedding for one in found], [one.moved for one in found])
    return max(float(np.linalg.norm(np.stack(other) - exact)) / size for other in others)


def draw_windows(
    inputs: Sequence[InputContract], module: nn.Module, embed: Callable[..., Tensor]
) -> list[Window]:
    """Walkers in windows of two lengths.

    Args:
        inputs: what the model looks at.
        module: in float32 and evaluation mode.
        embed: a window `[1, channels, frames, ...]` of each input to `[1, parts, dim]`, by the module.

    Returns:
        The calm ones of them; where there are too few of these, all, each as calm as it was found.
    """
    best: dict[int, Window] = {}
    for attempt in range(ATTEMPTS):
        feeds, sequences = windows.draw_sequences(inputs, attempt)
        for index in range(int(sequences.max()) + 1):
            if index in best and best[index].noise <= CALM:
                continue
            mine = sequences == index
            one = _window({name: array[mine] for name, array in feeds.items()}, module, embed)
            if index not in best or one.noise < best[index].noise:
                best[index] = one
    found = [best[index] for index in sorted(best)]
    calm = [one for one in found if one.noise <= CALM]
    return calm if len(calm) >= FEWEST else found


def draw_frames(
    inputs: Sequence[InputContract], usable: Callable[..., Tensor]
) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Walkers in windows of two lengths, frames that are not usable drawn anew.

    Args:
        inputs: what the model looks at.
        usable: which of some frames are, bool `[n]`.

    Returns:
        As `windows.draw_sequences`.

    Raises:
        ExportError: frames stay unusable.
    """
    feeds, sequences = windows.draw_sequences(inputs)
    for attempt in range(1, ATTEMPTS + 1):
        with torch.no_grad():
            poor = ~usable(*map(torch.from_numpy, feeds.values())).numpy()
        if not poor.any():
            return feeds, sequences
        others, _ = windows.draw_sequences(inputs, attempt)
        for name, array in feeds.items():
            array[poor] = others[name][poor]
    raise ExportError(
        "the mask branch gives logits of 0 on every trial input, so its masks are arbitrary: "
        "is the checkpoint's Mask_Branch trained?"
    )


def _window(feeds: dict[str, Array], module: nn.Module, embed: Callable[..., Tensor]) -> Window:
    every = np.ones(len(next(iter(feeds.values()))), bool)
    clips = [windows.clip_of(array, every)[None] for array in feeds.values()]
    rng = np.random.default_rng([SEED, 2])
    signs = [torch.from_numpy(rng.choice((-1.0, 1.0), tuple(clip.shape))) for clip in clips]
    with torch.no_grad():
        embedding = embed(*clips)
        moved = embed(*(_rounded(clip, sign) for clip, sign in zip(clips, signs, strict=True)))
        with _in_double(module):
            exact = embed(*(clip.double() for clip in clips))
    return Window(feeds, embedding[0].numpy(), moved[0].numpy(), exact[0].numpy())


def _rounded(clip: Tensor, sign: Tensor) -> Tensor:
    """Every number half a step to one side, and then to the nearest."""
    return (clip * (1 + ROUNDING * sign)).to(clip.dtype)


@contextmanager
def _in_double(module: nn.Module) -> Iterator[None]:
    """The module in float64; it comes back bit for bit."""
    module.double()
    try:
        yield
    finally:
        module.float()

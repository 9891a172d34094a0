"""Windows on which weights make a network a matter of the last bit are no proof, and are drawn anew."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="modules are compared")

from torch import Tensor, nn  # noqa: E402

from gaitstream.errors import ExportError  # noqa: E402
from gaitstream.models.biggergait.module import BiggerGait  # noqa: E402
from gaitstream.models.biggergait.trained import wrap  # noqa: E402
from gaitstream.models.gaittr.trained import make_random  # noqa: E402
from gaitstream.models.graphs.conditioning import CALM, LOGIT_MARGIN  # noqa: E402
from gaitstream.models.graphs.inputs import JOINTS  # noqa: E402
from gaitstream.models.graphs.traced_models import NOISE_FACTOR, ClipModel, Tap  # noqa: E402
from gaitstream.models.graphs.weights import seeded  # noqa: E402
from gaitstream.models.graphs.windows import clip_of  # noqa: E402
from gaitstream.models.manifest import ClipContract  # noqa: E402


@pytest.mark.parametrize("seed", [1, 3, 4, 6])
def test_gaittr_is_compared_where_rounding_moves_it_by_little(seed: int) -> None:
    model = make_random(seed)
    before = copy.deepcopy(model.module.state_dict())
    case = model.case()
    after = model.module.state_dict()
    assert all(
        torch.equal(after[key], value) and after[key].dtype == value.dtype for key, value in before.items()
    )
    assert case.limits.fp32 == 1e-5
    exact = copy.deepcopy(model.module).double()
    for index in range(len(case.embedding)):
        window = clip_of(case.feeds["joints"], case.sequences == index).transpose(0, 1)[None]
        with torch.no_grad():
            reference = exact(window.double()).numpy()[0]
        error = np.linalg.norm(case.embedding[index] - reference) / np.linalg.norm(reference)
        assert error <= CALM


class Cancelling(nn.Module):
    """What is left of joints after a large number was added and taken away, times a weight."""

    def __init__(self, large: float) -> None:
        super().__init__()
        self.large = nn.Parameter(torch.tensor([large]))

    def forward(self, joints: Tensor) -> Tensor:
        kept = (joints + self.large) - self.large
        return kept[..., :2].mean((2, 3))[..., None, :].flatten(1, 2)


@pytest.mark.parametrize("large", [1e4, 1e6])
def test_a_module_that_rounding_moves_everywhere_has_a_wider_limit_and_says_so(large: float) -> None:
    module = Cancelling(large).eval().requires_grad_(False)
    case = ClipModel("c", module, (JOINTS,), module, ClipContract(), Tap("all")).case()
    assert case.noise is not None
    assert case.limits.fp32 == pytest.approx(max(1e-5, NOISE_FACTOR * case.noise))
    assert (case.limits.fp32 > 1e-5) == (large == 1e6)
    assert case.about.startswith("6 drawn windows")


@pytest.mark.parametrize("seed", [1, 3])
def test_no_crop_of_biggergait_has_a_mask_that_rounding_decides(seed: int) -> None:
    sizes = {"dim": 64, "depth": 2, "heads": 2, "hidden": 8, "appearance": 4, "channels": (4, 4, 4, 4)}
    module = seeded(BiggerGait(**sizes, embedding=8), seed)  # type: ignore[arg-type]
    crops = torch.from_numpy(wrap(module).case().feeds["crops"])
    assert float(module.mask_logit(crops).abs().min()) >= LOGIT_MARGIN


def test_untrained_masks_are_no_proof() -> None:
    sizes = {"dim": 64, "depth": 1, "heads": 1, "hidden": 8, "appearance": 4, "channels": (4, 4, 4, 4)}
    module = seeded(BiggerGait(**sizes, embedding=8), 1)  # type: ignore[arg-type]
    nn.init.zeros_(module.Mask_Branch.down_sampling.weight)
    nn.init.zeros_(module.Mask_Branch.down_sampling.bias)
    with pytest.raises(ExportError, match="the mask branch gives logits of 0 on every trial input"):
        wrap(module).case()

"""GaitHeat at the demo's width and depth with seeded weights, the same for every contender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.models.gaitheat.spec import GaitHeatOptions
from training.networks import CHANNELS, DEPTHS, DIM

if TYPE_CHECKING:
    from gaitstream.models.gaitheat.module import GaitHeat

SEED = 11


def gaitheat_module() -> GaitHeat:
    """The PyTorch module, in evaluation mode."""
    import torch

    from gaitstream.models.gaitheat.module import GaitHeat

    torch.manual_seed(SEED)
    return GaitHeat(CHANNELS, dim=DIM, depths=DEPTHS).eval()


def make_gaitheat(root: Path) -> Path:
    """Its bundle, written by the exporter; the directory is made."""
    from gaitstream.export.api import ExportOptions, write_bundle
    from gaitstream.models.gaitheat.trained import TrainedGaitHeat

    root.mkdir(parents=True)
    trained = TrainedGaitHeat(gaitheat_module(), GaitHeatOptions(gamma_deg=0.0, small_angle="align"))
    write_bundle(trained, root, ExportOptions(version="random weights"))
    return root

"""The modules with the golden weights, and their graphs run once on every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.engines.cache import EngineCache
from gaitstream.models.biggait.checkpoint import load_module as load_biggait
from gaitstream.models.biggait.module import BigGait, GaitNet
from gaitstream.models.bundle import Bundle
from gaitstream.models.gaitheat.checkpoint import load_module as load_gaitheat
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.trained import TrainedGaitHeat
from gaitstream.models.graphs.writer import with_taps
from gaitstream.models.trained import pool

Array = NDArray[Any]
M = TypeVar("M", bound=torch.nn.Module)
Run = Callable[[str, str, str], dict[str, Array]]


@pytest.fixture(scope="session", autouse=True)
def _no_gradients() -> Any:
    torch.set_grad_enabled(False)
    yield
    torch.set_grad_enabled(True)


@pytest.fixture(scope="session")
def biggait(biggait_checkpoint: Path) -> BigGait:
    return load_biggait(biggait_checkpoint)


@pytest.fixture(scope="session")
def gaitheat(gaitheat_checkpoint: Path) -> GaitHeat:
    return load_gaitheat(gaitheat_checkpoint)


@pytest.fixture(scope="session")
def biggait_golden(golden: Path) -> Mapping[str, Array]:
    with np.load(golden / "biggait_A.npz") as data:
        return dict(data)


@pytest.fixture(scope="session")
def gaitheat_golden(golden: Path) -> Mapping[str, Array]:
    with np.load(golden / "gaitheat_A.npz") as data:
        return dict(data)


@pytest.fixture(scope="session")
def relative() -> Callable[[Any, Any], float]:
    def error(candidate: Any, reference: Any) -> float:
        a, b = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
        assert a.shape == b.shape
        return float(np.linalg.norm(a - b) / np.linalg.norm(b))

    return error


def tapped(bundle: Bundle, precision: str, folder: Path, taps: list[str] | None = None) -> Path:
    """The frame graph with its taps as outputs."""
    path = folder / f"{bundle.manifest.model}.{precision}.onnx"
    if not path.is_file():
        graph = bundle.graph("frame", precision)  # type: ignore[arg-type]
        onnx.save(with_taps(onnx.load(graph), taps), path)
    return path


@pytest.fixture(scope="session")
def run_biggait(
    biggait_bundle: Bundle, biggait_golden: Mapping[str, Array], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """`(runtime, precision, case)` to the frame graph's outputs with taps, and `embedding`."""
    folder = tmp_path_factory.mktemp("tapped")
    taps = ["mask_logit", "valid", "support", "denoising", "appearance", "fused"]

    @cache
    def run(runtime: str, precision: str, case: str) -> dict[str, Array]:
        stored = "fp16" if precision == "fp16" else "fp32"
        rgb, ratios = biggait_golden[f"{case}/rgb"], biggait_golden[f"{case}/ratios"]
        feeds = {"crops": rgb.reshape(-1, *rgb.shape[2:]), "ratios": ratios.ravel()}
        with open_engine(tapped(biggait_bundle, stored, folder, taps), runtime, precision) as engine:
            found = engine.infer(feeds)
        pooled = found["features"].reshape(*rgb.shape[:2], 512, 16, 8).max(1)
        found["embedding"] = head(biggait_bundle, runtime, precision, pooled)
        return found

    return run


@pytest.fixture(scope="session")
def embed() -> Callable[[Bundle, str, str, Array], Array]:
    return head


def head(bundle: Bundle, runtime: str, precision: str, pooled: Array) -> Array:
    """Run the head graph."""
    with open_engine(bundle.graph("head", precision), runtime, precision) as engine:  # type: ignore[arg-type]
        return engine.infer({"pooled": pooled})["embedding"]


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small_biggait() -> BigGait:
    """A narrow BigGait with 24 blocks, tapped as ViT-L is, and random weights."""
    torch.manual_seed(3)
    net = GaitNet((6, 5), (8, 8, 16, 16), 4, 16, 8, 3)
    model = BigGait(dim=64, depth=24, hidden=64, denoising_hidden=16, net=net, widths=(6, 5))
    return _randomise(model)


@pytest.fixture(scope="session")
def small_gaitheat() -> GaitHeat:
    """A narrow GaitHeat with more blocks than the released one and random weights."""
    return _narrow_gaitheat((1, 3, 2))


@pytest.fixture(scope="session")
def shallow_gaitheat() -> GaitHeat:
    """The same with one block a stage, where every layer is tried several times."""
    return _narrow_gaitheat((1, 1, 1))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a state dict as a checkpoint and return its path."""

    def write(state: Any, name: str = "model.pt") -> Path:
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


def _narrow_gaitheat(depths: tuple[int, int, int]) -> GaitHeat:
    """The neck takes away most of what all sequences have in common, as training has it.

    Without that, a rounding in the fourth digit is a tenth of what tells them apart.
    """
    torch.manual_seed(4)
    model = _randomise(GaitHeat((4, 8, 8, 16), parts=16, dim=8, identities=3, depths=depths))
    case = TrainedGaitHeat(model).case()
    pooled = torch.from_numpy(pool(case.features["features"], case.sequences))
    flat = model.embed("fusion", pooled).before.transpose(1, 2).flatten(1)
    model.get_submodule("BNNecks_fusion.bn1d").state_dict()["running_mean"].copy_(0.9 * flat.mean(0))
    return model


def _randomise(model: M) -> M:
    """Statistics and affine weights that no identity hides behind."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1 and value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.1)
        elif name.endswith(("pos_embed", "cls_token")):
            value.normal_(0, 0.2)
    return model.eval().requires_grad_(False)

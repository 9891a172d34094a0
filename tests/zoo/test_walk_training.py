"""Learning from recorded walks: cycles are found, like walks cannot be told apart, weights come back."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve
from gaitstream.synth.gait import pose
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.motion import ROOT, basis
from gaitstream.synth.paths import Line

ROOT_FOLDER = Path(__file__).parents[2]
Load = Callable[[str], ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a script, with its folder on the path as when it is run."""
    for folder in ("training", "scripts"):
        monkeypatch.syspath_prepend(str(ROOT_FOLDER / folder))
    return importlib.import_module


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_walk_is_fitted_with_its_stride_rate_and_phase(script: Load, index: int) -> None:
    compare, mocap = script("compare_walks"), script("mocap")
    person = sample_identity(1, index, "learned")
    speed = person.speed
    stride = 2 * person.step_length(speed)
    s = speed * np.arange(60) / mocap.FPS
    joints = pose(person, Line((0.0, 0.0), 0.0), s, np.zeros(60), stride)
    fitted = mocap.fit(compare.to_walk("somebody", "learned", joints))
    assert fitted.stride == pytest.approx(stride, rel=0.02)
    assert fitted.rate == pytest.approx(speed / stride, rel=0.02)
    assert fitted.leg == pytest.approx(person.leg, rel=0.01)
    late = (fitted.cycle - s / stride + 0.5) % 1 - 0.5
    assert np.abs(late).max() < 0.06
    shown = np.einsum("rck,tk->trc", fitted.series, basis(fitted.cycle))
    off = (shown - fitted.channels)[:, :ROOT]
    assert np.sqrt(np.square(off).sum(-1).mean()) < 0.04


def test_noise_is_no_walk(script: Load) -> None:
    compare, mocap = script("compare_walks"), script("mocap")
    still = np.tile(
        pose(sample_identity(1, 0), Line((0.0, 0.0), 0.0), np.zeros(1), np.ones(1), 1.4), (40, 1, 1)
    )
    assert mocap.fit(compare.to_walk("somebody", "noise", still)) is None


def test_only_what_differs_can_be_told_apart(script: Load) -> None:
    tell_apart = script("compare_walks").tell_apart
    rng = np.random.default_rng(2)
    names = [f"person {index // 3}" for index in range(120)]
    one, other = rng.standard_normal((2, 120, 30))
    assert 0.35 < tell_apart(one, other, names) < 0.65
    assert tell_apart(one, other + 1, names) > 0.95


def test_discriminants_leave_out_what_is_not_a_persons_own(script: Load) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra 'export'")
    fit_metric, head_of = script("fit_metric"), script("head").Head
    torch.manual_seed(1)
    parts, channels, dim = 3, 8, 6
    people = torch.arange(80).repeat_interleave(5)
    own = torch.randn(80, parts, channels)[people] * torch.linspace(1.5, 0.05, channels)
    rows = own + torch.randn(400, parts, channels) * torch.linspace(0.3, 4, channels)
    head = head_of(parts, channels, dim, 80).eval()
    before = _own_is_nearest(head, rows, people)
    fit_metric.fit_discriminants(head, rows, people)
    assert _own_is_nearest(head, rows, people) > before + 0.4


def _own_is_nearest(head: Any, rows: Any, people: Any) -> float:
    import torch

    with torch.no_grad():
        embedded = head.embed(rows)[0].flatten(1)
    gaps = torch.cdist(embedded, embedded).fill_diagonal_(torch.inf)
    return float((people[gaps.argmin(1)] == people).float().mean())


def test_a_recovered_checkpoint_computes_what_the_bundle_does(script: Load) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra 'export'")
    recover, networks = script("recover_gait"), script("networks")
    bundle = resolve("demo", "recognizer")
    model = recover.GaitHeat(networks.CHANNELS, dim=networks.DIM, identities=1, depths=networks.DEPTHS).eval()
    recover.take_convolutions(model, bundle / "frame.onnx")
    recover.take_head(model, bundle / "head.onnx")
    maps = recover.drawn_maps(4)
    recover.normalise(model, maps)
    with torch.no_grad():
        features = model.features(maps)[2]
        ours = model.embed("fusion", features.amax(0, keepdim=True)).after[0].numpy()
    recognizer = Recognizer.load(bundle, precision="fp32", threads=1)
    theirs = recognizer.embed_pooled(features.amax(0).numpy())
    assert np.abs(ours - theirs).max() < 1e-4


def test_halves_are_searched_in_each_other(script: Load) -> None:
    across_halves = script("evaluate_video").across_halves
    rng = np.random.default_rng(3)
    people = [rng.standard_normal((1, 4, 8)) + 0.05 * rng.standard_normal((6, 4, 8)) for _ in range(3)]
    assert across_halves(people, people) == 100
    assert across_halves(people, people[::-1]) == pytest.approx(100 / 3)
    assert across_halves(people, people, backwards=True) == 100


def test_what_was_learned_is_not_lost_to_a_folder_that_is_missing(
    script: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra 'export'")
    out = tmp_path / "new" / "teacher.pt"
    options = f"--minutes 0.001 --people 4 --batch 4 2 --out {out}"
    monkeypatch.setattr("sys.argv", ["train_teacher.py", *options.split()])
    with torch.enable_grad():  # tests of the export switch them off
        script("train_teacher").main()
    assert out.is_file()

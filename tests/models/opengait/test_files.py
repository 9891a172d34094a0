"""Checkpoints of OpenGait families in the forms that people have them in, and broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="checkpoints are read with the extra 'export'")

from gaitstream.errors import CheckpointError  # noqa: E402
from gaitstream.models.graphs.checkpoint import recognise_checkpoint  # noqa: E402
from gaitstream.models.spec import find_family  # noqa: E402

State = dict[str, Any]
FAMILIES = ("gaitset", "gaitpart", "gaitgl", "gaittr", "gaitgraph2")
"""The smallest; files of the others are read by the same code."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, State]:
    """A family and a state of its published size."""
    name: str = request.param
    return name, dict(find_family(name).random(31).module.state_dict())


def same(name: str, path: Path, wanted: State) -> bool:
    """Whether the file is recognised and gives this state."""
    assert recognise_checkpoint(path).name == name
    found = find_family(name).load(path).module.state_dict()
    return all(torch.equal(found[key], value) for key, value in wanted.items())


def test_what_wrappers_and_trainers_add_is_taken_off(family: tuple[str, State], tmp_path: Path) -> None:
    name, state = family
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    wrapped = {f"module.{key}": value for key, value in state.items()}
    saved = {"model": wrapped, "optimizer": moments, "scheduler": {"last_epoch": 3}, "iteration": 60_000}
    torch.save(saved, tmp_path / "wrapped.pt")
    assert same(name, tmp_path / "wrapped.pt", state)


def test_half_precision_is_widened(family: tuple[str, State], tmp_path: Path) -> None:
    name, state = family
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    torch.save(half, tmp_path / "half.pt")
    wide = {key: value.float() if value.is_floating_point() else value for key, value in half.items()}
    assert same(name, tmp_path / "half.pt", wide)


def test_keys_that_are_missing_or_too_many_are_all_named(family: tuple[str, State], tmp_path: Path) -> None:
    name, state = family
    matrices = [key for key, value in state.items() if value.ndim > 1 and "BNNecks" not in key]
    gone = matrices[len(matrices) // 2]
    broken = {key: value for key, value in state.items() if key != gone}
    broken["a.layer.of.somebody.else"] = torch.zeros(2)
    torch.save({"model": broken}, tmp_path / "broken.pt")
    with pytest.raises(CheckpointError) as caught:
        find_family(name).load(tmp_path / "broken.pt")
    assert gone in str(caught.value)
    assert "a.layer.of.somebody.else" in str(caught.value)


def test_values_that_are_not_finite_are_refused(family: tuple[str, State], tmp_path: Path) -> None:
    name, state = family
    first = next(key for key, value in state.items() if value.is_floating_point())
    torch.save({**state, first: torch.full_like(state[first], torch.nan)}, tmp_path / "diverged.pt")
    with pytest.raises(CheckpointError, match="not finite in "):
        find_family(name).load(tmp_path / "diverged.pt")

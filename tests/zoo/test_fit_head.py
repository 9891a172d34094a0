"""The last step of training the demo gait model: directions in which a person's windows differ are shrunk."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'export'")
SCRIPTS = Path(__file__).parents[2] / "training"
PEOPLE, WINDOWS, PARTS, CHANNELS, DIM = 60, 5, 3, 8, 6


Shrink = Callable[[Any, Any, Any], None]


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch) -> Shrink:
    """`fit_head.shrink`, with the scripts' folder on the path as when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    function: Shrink = importlib.import_module("fit_head").shrink
    return function


def head_and_windows() -> tuple[Any, Any, Any]:
    """A head, windows `[n, parts, channels]` with as much noise as people differ by, and whose they are."""
    torch.manual_seed(3)
    head = importlib.import_module("head").Head(PARTS, CHANNELS, DIM, PEOPLE)
    people = torch.arange(PEOPLE).repeat_interleave(WINDOWS)
    own = torch.randn(PEOPLE, PARTS, CHANNELS)[people] * torch.linspace(0.2, 2, CHANNELS)
    rows = 1 + own + torch.randn(len(people), PARTS, CHANNELS) * torch.linspace(2, 0.2, CHANNELS)
    norm = head.necks.bn1d
    flat = head.fcs(rows).detach().transpose(1, 2).flatten(1)
    norm.running_mean.copy_(flat.mean(0))
    norm.running_var.copy_(flat.var(0))
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.normal_(norm.bias)
    return head.eval(), rows, people


def before_length(head: Any, rows: Any) -> np.ndarray:
    """What the neck makes of windows before it gives them unit length, `[n, parts, dim]`."""
    with torch.no_grad():
        flat = head.necks.bn1d(head.fcs(rows).transpose(1, 2).flatten(1))
    return np.asarray(flat.unflatten(1, (DIM, PARTS)).transpose(1, 2).double())


def test_the_head_goes_half_the_way_to_the_posterior_mean_of_the_person(shrink: Shrink) -> None:
    head, rows, people = head_and_windows()
    y = before_length(head, rows)
    shrink(head, rows, people)
    found = before_length(head.eval(), rows)
    for part in range(PARTS):
        x = y[:, part]
        groups = x.reshape(PEOPLE, WINDOWS, DIM)
        apart = (groups - groups.mean(1, keepdims=True)).reshape(-1, DIM)
        within = apart.T @ apart / (len(x) - PEOPLE)
        total = np.cov(x.T)
        posterior = (x - x.mean(0)) @ np.linalg.inv(total) @ (total - within) + x.mean(0)
        expected = (x + posterior) / 2
        np.testing.assert_allclose(found[:, part], expected, atol=2e-4)


def test_people_are_told_apart_better(shrink: Shrink) -> None:
    head, rows, people = head_and_windows()
    other = rows.clone().unflatten(0, (PEOPLE, WINDOWS))

    def rank1() -> float:
        embeddings = before_length(head.eval(), other.flatten(0, 1)).reshape(PEOPLE, WINDOWS, -1)
        gallery, probes = embeddings[:, 0], embeddings[:, 1:].reshape(-1, PARTS * DIM)
        nearest = np.linalg.norm(probes[:, None] - gallery[None], axis=-1).argmin(1)
        return float(np.mean(nearest == np.repeat(np.arange(PEOPLE), WINDOWS - 1)))

    before = rank1()
    shrink(head, rows, people)
    assert rank1() > before + 0.05

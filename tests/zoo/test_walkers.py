"""Weights of another package: found by name, and able to tell people apart who walk as people do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import find_bundle
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.identity import WalkKind, sample_identity
from gaitstream.synth.studio import sample_camera, sample_pass

pytest.importorskip(
    "gaitstream_walkers", reason="the weights are a package of their own: pip install ./weights"
)

SEED, PEOPLE, CAMERAS = 771, 20, 3
MISSED = 0.6
"""Standard deviation of joints' errors, in percent of the person's height."""


def test_the_name_leads_to_a_sealed_bundle_with_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = find_bundle("walkers", family="gaitjoints")
    assert bundle.manifest.model == "gaitjoints"
    assert bundle.manifest.licence.startswith("Apache-2.0")
    assert bundle.parity()
    (entry,) = (one for one in zoo.entries("recognizer", "gaitjoints"))
    assert Path(entry.card).read_text(encoding="utf-8").startswith("# Walkers")
    assert {"demo", "walkers"} <= set(zoo.names("recognizer"))
    assert main(["models", "list"]) == 0
    assert "walkers" in capsys.readouterr().out


def test_they_are_no_larger_than_a_second_bundle_may_be() -> None:
    root = find_bundle("walkers").root
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) <= 25e6


def test_another_family_s_name_is_met_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no packaged gaitheat is called 'walkers'; there is demo"):
        zoo.find("walkers", "recognizer", "gaitheat")
    with pytest.raises(ConfigError, match=r"no packaged gaitjoints .*'walker' \(did you mean 'walkers'"):
        zoo.find("walker", "recognizer", "gaitjoints")


@pytest.mark.parametrize(("kind", "rank1", "eer"), [("formula", 90.0, 5.0), ("learned", 80.0, 8.0)])
def test_unseen_people_are_told_apart_by_their_joints(kind: WalkKind, rank1: float, eer: float) -> None:
    model = Recognizer.load(find_bundle("walkers"), threads=2)
    rng = np.random.default_rng(SEED)
    rows, labels = [], []
    for camera in [sample_camera(rng) for _ in range(CAMERAS)]:
        for person in range(PEOPLE):
            look = sample_appearance(SEED, person, int(rng.integers(9)))
            walked = sample_pass(sample_identity(SEED, person, kind), look, rng, 30, camera)
            rows.append(model.embed_inputs({"joints": found(walked.keypoints, rng)}))
            labels.append((person, camera.yaw_deg))
    model.close()
    people, cameras = np.array(labels).T
    distances = pairwise(np.stack(rows), np.stack(rows))
    assert retrieve(distances, people, people, cameras, cameras).rank1 > rank1
    other = cameras[:, None] != cameras[None]
    assert 100 * verify(*pairs(distances, people, people, other)).eer < eer


def found(keypoints: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Joints `[t, 17, 3]` as a good pose model would find them."""
    tall = np.ptp(keypoints[..., 1], axis=1).mean()
    points = keypoints.copy()
    points[..., :2] += tall * MISSED / 100 * rng.standard_normal(points[..., :2].shape)
    points[..., 2] = rng.uniform(0.7, 1.0, points.shape[:2])
    return points


def test_a_site_takes_them_by_name() -> None:
    config = Config.model_validate({
        "cameras": [{"id": "door", "url": "synth://plaza?camera=1"}],
        "models": {"detector": "demo", "pose": "demo", "gaitjoints": "walkers"},
    })  # fmt: skip
    assert config.models.recognizers["gaitjoints"].model == "walkers"

"""Embeddings on their way from recognizers to galleries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.errors import EngineError, GalleryError
from gaitstream.evaluate.distances import pairwise
from gaitstream.gallery import Gallery
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.models.bundle import Bundle
from gaitstream.models.manifest import EmbeddingContract
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.embed import MOST_BROKEN, Embedder, Filled, comparable
from gaitstream.pipeline.known import check_gallery
from gaitstream.pipeline.pool import Emitted, WindowRule
from tests.pipeline.tiny import CHANNELS, tiny_bundle


def test_the_nearest_is_whom_the_metric_of_the_model_finds() -> None:
    """GaitGraph2's published metric is the cosine; galleries measure distances."""
    rng = np.random.default_rng(1)
    lengths = rng.uniform(0.1, 10, (60, 1, 1))
    found = (rng.normal(size=(60, 1, 384)) * lengths).astype(np.float32)
    probes, templates = found[:10], found[10:]
    expected = pairwise(probes, templates, "cos")
    cosine = EmbeddingContract(parts=1, dim=384, tap="x", metric="mean_part_cosine")
    mine, theirs = comparable(cosine, probes), comparable(cosine, templates)
    for probe, row in zip(mine, expected, strict=True):
        np.testing.assert_array_equal(np.argsort(mean_part_distance(probe, theirs)), np.argsort(row))
    assert (np.argmin(expected, 1) != np.argmin(pairwise(probes, templates), 1)).any()
    nothing = np.zeros((1, 1, 384), np.float32)
    assert not comparable(cosine, nothing).any()
    assert comparable(EmbeddingContract(parts=1, dim=384, tap="x"), probes) is probes


def test_windows_of_a_model_compared_by_the_cosine_have_parts_of_unit_length(
    family_bundle: Callable[[str], Bundle],
) -> None:
    joints = np.random.default_rng(2).uniform(0, 200, (12, 17, 3)).astype(np.float32)
    model = Recognizer.load(family_bundle("gaitgraph2"), "openvino", "fp32")
    plain = model.embed(joints)
    embedder = Embedder({"x": model}, WindowRule())
    (found,) = embedder.embed([Filled("x", "door", 1, Emitted(joints, 0, 11, 12, True))])
    model.close()
    np.testing.assert_allclose(found.parts, plain / np.linalg.norm(plain), rtol=1e-5)


def overflowing(root: Path) -> Recognizer:
    """A recognizer that gives infinity for frames that are far brighter than people are."""
    return Recognizer.load(tiny_bundle(root), "onnxruntime", "fp32", 1)


def window(value: float) -> Filled:
    return Filled("x", "door", 1, Emitted(np.full((CHANNELS, 16, 12), value, np.float32), 0, 11, 12, False))


def test_windows_without_numbers_are_left_out_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(overflowing(tmp_path)) as model:
        embedder = Embedder({"x": model}, WindowRule())
        found = [embedder.embed([window(1), window(3e38), window(2)]) for _ in range(MOST_BROKEN)]
    assert [len(some) for some in found] == [2] * MOST_BROKEN
    assert all(np.isfinite(one.parts).all() for some in found for one in some)
    assert caplog.text.count("models.x gives embeddings that hold NaN or infinity (onnxruntime, fp32)") == 1


def test_a_recognizer_that_never_gives_numbers_ends_the_run(tmp_path: Path) -> None:
    with contextlib.closing(overflowing(tmp_path)) as model:
        embedder = Embedder({"x": model}, WindowRule())
        assert embedder.embed([window(3e38)] * (MOST_BROKEN - 1)) == []
        with pytest.raises(EngineError, match=r"hold NaN or infinity .*: export the bundle again, or set"):
            embedder.embed([window(3e38)])


def test_a_gallery_of_an_earlier_release_does_not_pass_the_check_of_a_configuration(
    family_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    bundle = family_bundle("gaitgraph2")
    contract = bundle.manifest.embedding
    plain = np.random.default_rng(3).normal(size=(4, contract.parts, contract.dim)).astype(np.float32)
    for name, templates in (("now", comparable(contract, plain)), ("earlier", plain)):
        path = tmp_path / f"{name}.gallery"
        with Gallery(path, create=True) as gallery:
            gallery.enroll("Ada", "gaitgraph2", bundle.fingerprint, templates)
        config = Config.model_validate(
            {
                "cameras": [{"id": "gate", "url": "synth://?seed=1"}],
                "models": {"gaitgraph2": {"model": str(bundle.root)}},
                "gallery": {"path": str(path)},
            }
        )
        if name == "now":
            check_gallery(config)
        else:
            with pytest.raises(GalleryError, match=r"filled by gaitgraph2 in an earlier release .* 4 of 4"):
                check_gallery(config)

"""The masks that a gait model makes for itself, as a segmentation model in its bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from gaitstream.cli import main
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Frame, Person
from gaitstream.engines import open_engine
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, ExportError
from gaitstream.export.api import Exported, ExportOptions, export_bundle
from gaitstream.models.biggait import masks
from gaitstream.models.biggait.cases import foreground
from gaitstream.models.biggait.module import BigGait, GaitNet
from gaitstream.models.biggait.weights import seed_biggait
from gaitstream.models.crops import crop_padded
from gaitstream.models.segmenter import Segmenter
from gaitstream.models.silhouettes import draw
from gaitstream.models.spec import find_family
from gaitstream.pipeline.gather import Looks
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline

Array = NDArray[Any]
FEW = 5
FP32 = ExportOptions(precisions=("fp32",))
WITH_MASKS = ExportOptions(precisions=("fp32",), masks=True)
SITE = "synth://corridor?people=2&seconds=8&seed=4"


@pytest.fixture(scope="module")
def model() -> BigGait:
    """A narrow BigGait whose masks follow the picture."""
    net = GaitNet((6, 5), (8, 8, 16, 16), 4, 16, 8, 3)
    model = BigGait(dim=64, depth=4, hidden=64, denoising_hidden=16, net=net, widths=(6, 5))
    seed_biggait(model, 4)
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(model: BigGait, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_bundle("auto", checkpoint, tmp_path_factory.mktemp("out") / "biggait", options=WITH_MASKS)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_graph_gives_the_published_foreground(
    biggait: BigGait, biggait_golden: Mapping[str, Array], tmp_path: Path, runtime: str
) -> None:
    """Without the ratios: the padding tells them."""
    path = tmp_path / "segmenter.onnx"
    onnx.save(masks.write(biggait), path)
    rgb = biggait_golden["pad1/rgb"]
    with open_engine(path, runtime, "fp32", cache=EngineCache(tmp_path / "cache")) as engine:
        found = engine.infer({"crops": rgb.reshape(-1, *rgb.shape[2:]).astype(np.float32)})["foreground"]
    expected = biggait_golden["pad1/foreground"][:, None]
    assert 0.3 < (expected >= 0.5).mean() < 0.7
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_export_writes_them_with_proof_and_manifest(exported: Exported) -> None:
    rows = {(row.runtime, row.precision): row for row in exported.report.rows if row.output == "masks"}
    for runtime in ("openvino", "onnxruntime"):
        assert rows[runtime, "fp32"].verdict == "pass"
        assert rows[runtime, "fp32"].distance.relative < 1e-5
    same_in_bf16 = all(row.verdict == "pass" for (_, precision), row in rows.items() if precision == "bf16")
    contract = Segmenter.load(exported.bundle.root, "openvino", "fp32", 1).contract
    assert contract.crop == "pad_to_aspect"
    assert contract.size == (256, 128)
    assert contract.precisions == (("bf16",) if ("openvino", "bf16") in rows and same_in_bf16 else ())
    assert "academic" in contract.licence


def test_a_bundle_is_the_same_model_with_masks_beside_it(
    exported: Exported, checkpoint: Path, tmp_path: Path
) -> None:
    """Galleries that were filled before stay good."""
    plain = export_bundle("biggait", checkpoint, tmp_path / "plain", options=FP32)
    assert plain.bundle.fingerprint == exported.bundle.fingerprint
    with pytest.raises(ConfigError, match=r"plain holds no segmenter\.json: export it with --masks"):
        Segmenter.load(plain.bundle.root)


def test_masks_of_people_in_a_picture_are_the_modules(exported: Exported, model: BigGait) -> None:
    segmenter = Segmenter.load(exported.bundle.root, "onnxruntime", "fp32", 1)
    image = np.random.default_rng(2).integers(1, 256, (300, 400, 3), dtype=np.uint8)
    boxes = np.array([[10, 20, 70, 200], [150, 5, 330, 290], [380, 100, 460, 299]], np.float32)
    found = segmenter.masks(segmenter.crop(image, boxes))
    crops, ratios = (torch.from_numpy(one) for one in crop_padded(image, boxes, 256, 128))
    expected = model.maps(model.preprocess(crops, ratios), ratios).foreground
    sure = (expected - 0.5).abs().numpy() > 1e-4
    assert found.shape == (3, 64, 32)
    np.testing.assert_array_equal(found[sure], np.where(expected.numpy() >= 0.5, 255, 0)[sure])
    segmenter.close()


def test_a_model_without_masks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = find_family("gaitset").random(1)
    torch.save({"model": trained.module.state_dict()}, tmp_path / "gaitset.pt")
    with pytest.raises(ExportError, match="gaitset makes no masks of people: export it without --masks"):
        trained.mask_branch()
    arguments = ["--checkpoint", str(tmp_path / "gaitset.pt"), "--out", str(tmp_path / "out"), "--masks"]
    assert main(["export", "gaitset", *arguments]) == 1
    assert "gaitset makes no masks of people" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Seen(Observer):
    """Keeps which models embedded, and silhouettes beside those made of the module's masks by hand."""

    def __init__(self, module: BigGait) -> None:
        self.embedded: Counter[str] = Counter()
        self.pairs: list[tuple[Array, Array]] = []
        self._module = module
        self._looks: list[Looks] = []

    def on_looks(self, looks: Sequence[Looks]) -> None:
        self._looks = [one for one in looks if one.inputs]

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        mine = [
            (person, silhouette)
            for look in self._looks
            for person, silhouette in zip(look.persons, look.inputs["silhouettes"], strict=True)
            if person.time_ns == frame.time_ns
        ]
        if mine and len(self.pairs) < FEW:
            person, silhouette = mine[0]
            crops, ratios = crop_padded(frame.image, person.box[None], 256, 128)
            shown = foreground(self._module, crops, ratios)[:, 0] >= 0.5
            self.pairs.append((silhouette, draw(shown.astype(np.uint8) * 255, (64, 44))[0]))

    def on_embedding(self, embedding: Embedding) -> None:
        self.embedded[embedding.tracklet.model] += 1


def test_a_live_pipeline_takes_them_for_silhouettes(
    exported: Exported, model: BigGait, tmp_path: Path
) -> None:
    """Beside it the bundle is a recognizer too, and the silhouettes are those of the module's masks."""
    config = Config.model_validate(
        {
            "cameras": [{"id": "hall", "url": SITE, "fps": None}],
            "models": {
                "segmenter": str(exported.bundle.root),
                "biggait": str(exported.bundle.root),
                "gaitbase": "demo",
            },
            "runtime": {"name": "openvino", "precision": "fp32", "threads": 1},
            "gallery": {"path": str(tmp_path / "people.gallery")},
        }
    )
    seen = Seen(model)
    with Pipeline(config, observers=[seen]) as pipeline:
        pipeline.run()
    assert seen.embedded["gaitbase"] == seen.embedded["biggait"] > 0
    assert len(seen.pairs) == FEW
    for found, expected in seen.pairs:
        assert (expected > 127).mean() > 0.02
        assert np.mean(np.abs(found.astype(int) - expected) > 32) < 0.02  # a mask's pixel at its threshold

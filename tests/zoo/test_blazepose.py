"""BlazePose as the pipeline takes it: a small network in its file format, with its inputs and outputs.

The published files themselves were converted and compared by hand: docs/verified.md.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from gaitstream.engines import open_engine
from gaitstream.errors import MissingExtraError, ZooError
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.models.segmenter import Segmenter
from gaitstream.zoo import fetched
from gaitstream.zoo.blazepose import COCO, HEATMAPS, MASK, SIGMA, SIGMAS, convert
from gaitstream.zoo.catalogue import CatalogueModel, KnownFile, find_model
from gaitstream.zoo.tflite import read_tflite
from tests.zoo.misbehaving import serve
from tests.zoo.tflite_file import PLAIN, NetworkFile

NAME = "blazepose_full"
MEMBER = "pose_landmark_full.tflite"


def a_network(seed: int = 5) -> bytes:
    """Every kind of layer that BlazePose has, random weights."""
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> NDArray[Any]:
        return draw.normal(0, 0.3, shape)

    file = NetworkFile([1, 256, 256, 3])
    half = file.convolve(file.picture, some(8, 3, 3, 3), some(8), 2)
    each = file.convolve_each(half, some(1, 5, 5, 8), some(8), 2)
    # Two more channels of zeros, as its blocks that grow have them.
    grown = file.pad(file.pool(half), [[0, 0], [0, 0], [0, 0], [0, 2]])
    quarter = file.add(grown, file.convolve(each, some(10, 1, 1, 8), some(10), activation=PLAIN))
    eighth = file.convolve(quarter, some(10, 3, 3, 10), some(10), 2)
    body = file.add(quarter, file.enlarge(eighth, 2))
    maps = file.convolve(body, 4 * some(39, 1, 1, 10), some(39), activation=PLAIN)
    shares = file.single("LOGISTIC", file.convolve(body, some(1, 1, 1, 10), some(1), activation=PLAIN))
    mask = file.enlarge(file.convolve(body, some(1, 1, 1, 10), some(1), activation=PLAIN), 4)
    return file.finish({HEATMAPS: maps, MASK: mask, "shares": shares})


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blazepose") / MEMBER
    path.write_bytes(a_network())
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))


def as_published(network: Path, output: str, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """What OpenVINO makes of the file itself, pictures one by one, channels first."""
    model = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = [model([one[None].transpose(0, 2, 3, 1)])[model.output(output)] for one in pixels]
    return np.concatenate(rows).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("output", [HEATMAPS, MASK, "shares"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_computes_what_the_file_does(
    output: str, runtime: str, network: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).random((3, 3, 256, 256), np.float32)
    path = tmp_path / "graph.onnx"
    model = read_tflite(network, output)
    onnx.checker.check_model(model, full_check=True)
    assert "Transpose" not in {node.op_type for node in model.graph.node}
    onnx.save(model, path)
    engine = open_engine(path, runtime=runtime, precision="fp32", threads=1)
    found = engine.submit({"pixels": pixels}).result()["maps"]
    expected = as_published(network, output, pixels)
    engine.close()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_heatmaps_are_those_of_coco_s_joints_in_the_crop(network: Path, tmp_path: Path) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (2, 3, 256, 192), np.uint8)
    square = np.zeros((2, 3, 256, 256), np.float32)
    square[..., 32:224] = crops / np.float32(255)
    logits = as_published(network, HEATMAPS, square)[:, list(COCO), :, 8:56]
    narrow = 1 / (1 + np.exp(-logits.astype(np.float64)))
    sigma = np.sqrt(SIGMA**2 - SIGMAS[NAME] ** 2)
    taps = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (2, 3):
        narrow = convolve1d(narrow, taps, axis, mode="constant")
    expected = np.minimum(narrow * (SIGMA / SIGMAS[NAME]) ** 2, 1)
    found = pose(network, tmp_path).heatmaps(crops)
    assert found.shape == (2, 17, 64, 48)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("name", SIGMAS)
def test_a_joint_that_is_sure_stays_where_it_is_and_as_high(name: str, tmp_path: Path) -> None:
    """A network whose heatmaps are bumps of the width that this size of BlazePose makes."""
    place, sigma = (20.3, 31.6), SIGMAS[name]
    rows, columns = np.mgrid[:64, :48].astype(np.float64)
    bump = np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * sigma**2))
    logits = np.full((1, 39, 64, 64), -20, np.float32)
    logits[:, :, :, 8:56] = np.log(np.clip(bump, 1e-9, 1 - 1e-6) / (1 - np.clip(bump, 1e-9, 1 - 1e-6)))
    source = tmp_path / "bumps.tflite"
    file = NetworkFile([1, 256, 256, 3])
    zeros = file.convolve(file.picture, np.zeros((39, 1, 1, 3)), np.zeros(39), 4, activation=PLAIN)
    source.write_bytes(
        file.finish({HEATMAPS: file.add(zeros, file.weights(logits.transpose(0, 2, 3, 1).copy()))})
    )
    model = pose(source, tmp_path, name)
    maps = model.heatmaps(np.zeros((1, 3, 256, 192), np.uint8))
    found = keypoints(maps)[0]
    assert np.abs(found[:, :2] - place).max() <= 0.3
    assert np.all(np.abs(found[:, 2] - 1) <= 0.06)
    # As wide as other models' heatmaps: half of its height at 1.18 sigma.
    assert (maps[0, 0] > maps[0, 0].max() / 2).sum() == pytest.approx(np.pi * (1.1774 * SIGMA) ** 2, rel=0.12)


def test_it_is_fetched_out_of_its_package_and_runs_by_name(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = np.random.default_rng(4).integers(0, 256, (2, 3, 256, 192), np.uint8)
    with serve(a_package({f"package/{MEMBER}": network.read_bytes(), "package/README.md": b"#"})) as site:
        model = changed(find_model(NAME), network, site.url)
        receipt = fetched.download(model)
    assert receipt.made_from == hashlib.sha256(network.read_bytes()).hexdigest()
    assert receipt.compared_with == "this test"
    folder = fetched.folder_of(model)
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}.onnx", f"{NAME}.yaml", "receipt.json"]
    assert fetched.sum_of(folder / f"{NAME}.onnx") == receipt.sha256
    assert {path.name for path in folder.parent.iterdir()} == {NAME, f"{NAME}.lock"}
    by_name = PoseModel.load(fetched.manifest_path(model), precision="fp32", threads=1)
    np.testing.assert_array_equal(by_name.heatmaps(crops), pose(network, tmp_path).heatmaps(crops))
    fetched.verify(model, receipt)


@pytest.mark.parametrize("name", ["package.tgz", MEMBER, "under another name"])
def test_without_internet_the_package_or_its_file_is_found(name: str, network: Path, tmp_path: Path) -> None:
    model = changed(find_model("blazemask_full"), network, "http://127.0.0.1:9/package.tgz")
    stick = tmp_path / "stick"
    stick.mkdir()
    content = network.read_bytes()
    (stick / name).write_bytes(a_package({MEMBER: content}) if name.endswith(".tgz") else content)
    fetched.take(model, stick)
    assert (stick / name).is_file()
    masks = Segmenter.load(fetched.manifest_path(model), precision="fp32", threads=1)
    crops = np.random.default_rng(4).integers(0, 256, (2, 3, 256, 256), np.uint8)
    expected = as_published(network, MASK, crops.astype(np.float32) / 255)[:, 0]
    sure = np.abs(expected) > 1e-4
    np.testing.assert_array_equal((masks.masks(crops) > 0)[sure], (expected > 0)[sure])


def test_without_onnx_the_extra_is_named_before_anything_is_fetched(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = r"blazepose_full needs onnx: pip install 'gaitstream\[models\]'"
    with serve(a_package({MEMBER: network.read_bytes()})) as site:
        with pytest.raises(MissingExtraError, match=said):
            fetched.download(changed(find_model(NAME), network, site.url))
        assert site.asked == []
    with pytest.raises(MissingExtraError, match=said):
        fetched.take(changed(find_model(NAME), network, "http://127.0.0.1:9/x.tgz"), network)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "has the sum"),
        ({"package/other.tflite": b"1"}, f"holds 0 files {MEMBER}, not one"),
        ({f"a/{MEMBER}": b"1", f"b/{MEMBER}": b"2"}, f"holds 2 files {MEMBER}, not one"),
        ({MEMBER: b"1"}, "has 1 bytes where"),
    ],
)
def test_another_package_is_refused_and_nothing_kept(
    content: bytes | dict[str, bytes], message: str, network: Path
) -> None:
    with serve(content if isinstance(content, bytes) else a_package(content)) as site:
        model = changed(find_model(NAME), network, site.url)
        with pytest.raises(ZooError, match=message):
            fetched.download(model)
    assert not fetched.folder_of(model).exists()


def test_a_package_that_is_cut_off_is_refused(network: Path) -> None:
    whole = a_package({"package/pose.js": bytes(100), MEMBER: network.read_bytes()})
    with serve(whole[: len(whole) // 2]) as site:
        model = changed(find_model(NAME), network, site.url)
        with pytest.raises(ZooError, match="the archive of blazepose_full is damaged"):
            fetched.download(model)
    assert not fetched.folder_of(model).exists()


def test_another_network_with_its_sum_is_said_and_not_kept(tmp_path: Path) -> None:
    """Somebody names the sum of a file that is none of BlazePose's."""
    file = NetworkFile([1, 64, 64, 3])
    path = tmp_path / "other.tflite"
    path.write_bytes(file.finish({"sides": file.pool(file.picture)}))
    with pytest.raises(ZooError, match=rf"has no output '{HEATMAPS}'; it has sides"):
        fetched.take(find_model(NAME), path, pinned=fetched.sum_of(path))
    path.write_bytes(b"nothing that can be read")
    with pytest.raises(ZooError, match="cannot be read as TensorFlow Lite"):
        fetched.take(find_model(NAME), path, pinned=fetched.sum_of(path))
    assert fetched.receipt_of(find_model(NAME)) is None


def test_a_layer_that_is_not_known_is_named(tmp_path: Path) -> None:
    file = NetworkFile([1, 64, 64, 3])
    path = tmp_path / "other.tflite"
    path.write_bytes(file.finish({HEATMAPS: file.single("TANH", file.picture)}))
    with pytest.raises(ZooError, match=r"other\.tflite holds a layer Tanh: it cannot be written"):
        read_tflite(path, HEATMAPS)


def pose(source: Path, folder: Path, name: str = NAME) -> PoseModel:
    """The pose model that is made of a file, in fp32."""
    graph = folder / f"{name}.onnx"
    convert(source, name, "pose", graph)
    manifest = graph.with_suffix(".yaml")
    manifest.write_text(f"graph: {graph.name}\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n")
    return PoseModel.load(manifest, precision="fp32", threads=1)


def changed(model: CatalogueModel, file: Path, url: str) -> CatalogueModel:
    """A model of the catalogue, with the sum of another file and another address."""
    content = file.read_bytes()
    known = KnownFile(sha256=hashlib.sha256(content).hexdigest(), size=len(content), basis="this test")
    return msgspec.structs.replace(model, url=url, files=(known,))


def a_package(files: dict[str, bytes]) -> bytes:
    """An archive as npm's registry sends it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()

"""Two families of a package that gaitstream does not know: exported with proof, by name and by their keys."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from gaitstream.cli import main
from gaitstream.errors import CheckpointError, ConfigError, ExportError
from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.manifest import InputKind
from gaitstream.models.spec import FAMILIES, find_family

torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")

from gaitstream.export.api import ExportOptions, export_bundle, write_bundle  # noqa: E402
from gaitstream.export.calibration import LabelledCalibration, embed  # noqa: E402
from gaitstream.export.parity import prove  # noqa: E402
from gaitstream.models.trained import Description  # noqa: E402
from stranger.outline.module import Outline  # noqa: E402
from stranger.outline.trained import TrainedOutline  # noqa: E402
from stranger.stride.module import Stride  # noqa: E402
from stranger.stride.trained import TrainedStride  # noqa: E402


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of both, untrained."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(5)
    outline, stride = Outline(6, 10), Stride(4, 9)
    outline.state_dict()["outline.3.running_var"].uniform_(0.5, 1.5)
    paths = {"toy-outline": folder / "outline.pt", "toy-stride": folder / "stride.pt"}
    torch.save({"model": outline.state_dict()}, paths["toy-outline"])
    torch.save(stride.state_dict(), paths["toy-stride"])
    return paths


def test_the_families_stand_beside_the_own_ones() -> None:
    assert {"biggait", "gaitheat", "toy-outline", "toy-stride"} <= set(FAMILIES.names())


@pytest.mark.parametrize("family", ["toy-outline", "toy-stride"])
def test_the_command_exports_them_with_proof(
    family: str, checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main(["export", family, "--checkpoint", str(checkpoints[family]), "--out", str(out)]) == 0
    bundle = Bundle.open(out)
    assert bundle.manifest.model == family
    assert bundle.manifest.needs == {InputKind.SILHOUETTE}
    assert bundle.manifest.shape == ("clip" if family == "toy-stride" else "frame")
    rows = {(row["runtime"], row["precision"], row["output"]): row for row in bundle.parity()["rows"]}
    for runtime in ("onnxruntime", "openvino"):
        assert rows[runtime, "fp32", "embedding"]["verdict"] == "pass"
        assert rows[runtime, "fp32", "embedding"]["distance"]["relative"] < 1e-5
    assert rows["onnxruntime", "fp16", "embedding"]["verdict"] == "pass"
    assert family in capsys.readouterr().out


def test_what_a_terminated_export_has_made_is_removed(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gaitstream", "export", "toy-outline", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--checkpoint", str(checkpoints["toy-outline"])], stderr=subprocess.PIPE, text=True
    ) as export:
        try:
            said = []
            for line in export.stderr or ():
                said.append(line)
                if made := [path.name for path in tmp_path.iterdir()]:
                    export.terminate()
                    break
            assert export.wait(60) == 128 + signal.SIGTERM, said
        finally:
            export.kill()
    assert made[0].startswith(".out-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["toy-outline", "toy-stride"])
def test_a_family_is_told_by_its_keys(
    family: str, checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--checkpoint",
        str(checkpoints[family]),
        "--out",
        str(tmp_path / "out"),
        "--precision",
        "fp32",
    ]
    assert main(["export", "auto", *arguments]) == 0
    assert f"it is a checkpoint of {find_family(family).title}" in capsys.readouterr().err
    assert Bundle.open(tmp_path / "out").manifest.model == family


def test_options_of_a_family_are_its_own(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    options = ExportOptions(precisions=("fp32",))
    (tmp_path / "disk").mkdir()
    (tmp_path / "unit").symlink_to(tmp_path / "disk")
    named = tmp_path / "caf\udce9.pt"  # bytes that are no text
    named.symlink_to(checkpoints["toy-outline"])
    exported = export_bundle("auto", named, tmp_path / "unit", options=options, tap="unit")
    assert (tmp_path / "disk" / "manifest.json").is_file()
    assert list(exported.bundle.manifest.source) == ["caf\N{REPLACEMENT CHARACTER}.pt"]
    assert exported.bundle.manifest.embedding.tap == "the last layer, unit"
    with pytest.raises(
        ConfigError, match=r"the toy stride model has no option 'tap'; it has none of its own"
    ):
        export_bundle("toy-stride", checkpoints["toy-stride"], tmp_path / "out", tap="unit")


@pytest.mark.parametrize(
    ("family", "options", "says"),
    [
        (
            "toy-outline",
            ["--tap", "after"],
            "--tap 'after' of the toy outline model: choose from plain, unit",
        ),
        ("toy-stride", ["--tap", "unit"], "the toy stride model has no option --tap; it has none of its own"),
        ("toy-outline", ["--gamma", "20"], "the toy outline model has no option --gamma; it has --tap"),
    ],
)
def test_auto_takes_the_options_of_the_family_it_finds(
    family: str,
    options: list[str],
    says: str,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another family may have a flag of the same name with other choices."""
    files = ["--checkpoint", str(checkpoints[family]), "--out", str(tmp_path / "out")]
    assert main(["export", "auto", *files, *options]) == 2
    assert says in capsys.readouterr().err


def test_another_familys_checkpoint_is_named(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"looks like the toy stride model; .*export toy-stride"):
        find_family("toy-outline").load(checkpoints["toy-stride"])


def test_a_wrong_clip_graph_is_located(tmp_path: Path) -> None:
    torch.manual_seed(6)
    trained = TrainedStride(Stride(4, 9).eval())
    bundle = Bundle(tmp_path, write_bundle(trained, tmp_path, ExportOptions(precisions=("fp32",))))
    path = bundle.graph("clip", "fp32")
    model = onnx.load(path)
    second = [node for node in model.graph.node if node.op_type == "Conv"][1]
    tensor = next(one for one in model.graph.initializer if one.name == second.input[1])
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name))
    onnx.save(model, path)
    write_manifest(bundle.manifest, tmp_path)
    with pytest.raises(ExportError, match="the clip graph: it diverges between 'stride0' and 'stride2'"):
        prove(trained, bundle).require()


@pytest.mark.parametrize(
    ("what", "changes", "says"),
    [
        (
            "input",
            {"height": 32},
            r"its silhouettes as \[1, 32, 44\] each, and its module's are \[1, 64, 44\]",
        ),
        ("feature", {"channels": 7}, r"its features as \[7, 16, 11\] each"),
        ("embedding", {"dim": 12}, r"its embedding as \[16, 12\] each, and its module's are \[16, 10\]"),
    ],
)
def test_a_model_that_is_described_as_another_is_refused(
    what: str, changes: dict[str, int], says: str, tmp_path: Path
) -> None:
    """A run goes by the description: it would end at its first person, or at the gallery."""

    class Described(TrainedOutline):
        def describe(self) -> Description:
            described = super().describe()
            described[what] = msgspec.structs.replace(described[what], **changes)  # type: ignore[literal-required]
            return described

    torch.manual_seed(9)
    trained = Described(Outline(6, 10).eval())
    bundle = Bundle(tmp_path, write_bundle(trained, tmp_path, ExportOptions(precisions=("fp32",))))
    with pytest.raises(ExportError, match=f"toy-outline describes {says}"):
        prove(trained, bundle)


def test_a_clip_bundle_is_built_ahead_of_time(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = export_bundle(
        "toy-stride",
        checkpoints["toy-stride"],
        tmp_path / "bundle",
        options=ExportOptions(precisions=("fp32",)),
    )
    arguments = ["--runtime", "openvino", "--precision", "fp32"]
    assert main(["build", str(exported.bundle.root), *arguments]) == 0
    assert "clip" in capsys.readouterr().out
    (name,) = exported.bundle.parity()["engines"]
    assert name.startswith("clip/openvino/")


def test_labelled_windows_are_judged(tmp_path: Path) -> None:
    """A row per frame, whatever the shape of the model; windows may differ in length."""
    torch.manual_seed(7)
    trained = TrainedStride(Stride(4, 9).eval())
    bundle = Bundle(tmp_path, write_bundle(trained, tmp_path, ExportOptions(precisions=("fp32",))))
    rng = np.random.default_rng(1)
    sequence = np.repeat([3, 4, 8, 9], [4, 4, 7, 5])
    silhouettes = (rng.random((20, 1, 64, 44)) < 0.4).astype(np.float32)
    np.savez(
        tmp_path / "labels.npz",
        silhouettes=silhouettes,
        sequence=sequence,
        label=np.repeat(["ada", "ada", "bob", "bob"], [4, 4, 7, 5]),
    )
    data = LabelledCalibration.read(tmp_path / "labels.npz", bundle)
    from gaitstream.engines.cache import EngineCache

    found = embed(data, bundle, "onnxruntime", "fp32", EngineCache(tmp_path / "cache"))
    with torch.no_grad():
        for row, index in zip(found, (3, 4, 8, 9), strict=True):
            window = torch.from_numpy(silhouettes[sequence == index]).transpose(0, 1)[None]
            np.testing.assert_allclose(row, trained.module(window)[0].numpy(), rtol=1e-4, atol=1e-5)

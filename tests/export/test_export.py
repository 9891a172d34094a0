"""From checkpoint to proved bundle, and what happens when the proof does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gaitstream.cli import main
from gaitstream.deepstream.models import export_command
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, ExportError
from gaitstream.export.api import Exported, ExportOptions, export_bundle, write_bundle
from gaitstream.export.calibration import LabelledCalibration, judge
from gaitstream.export.compare import distance_change, measure, order_kept
from gaitstream.export.parity import Comparison, prove
from gaitstream.export.running import BundleRunner
from gaitstream.models.biggait.module import BigGait
from gaitstream.models.biggait.trained import TrainedBigGait
from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.gaitheat.module import GaitHeat, merge_parts
from gaitstream.models.gaitheat.spec import GaitHeatOptions, parse_groups
from gaitstream.models.gaitheat.trained import TrainedGaitHeat
from gaitstream.models.graphs.walkers import draw_crop, draw_heatmaps
from gaitstream.models.trained import Case, Limits, TrainedModel, pool

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def proved_heat(small_gaitheat: GaitHeat, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("proved")
    torch = pytest.importorskip("torch")
    torch.save({"model": small_gaitheat.state_dict()}, folder / "heat.pt")
    groups = ((0, 1), (5, 6, 7), (11, 12))
    return export_bundle("gaitheat", folder / "heat.pt", folder / "bundle", groups=groups, gamma_deg=20.0)


@pytest.mark.slow
def test_the_published_model_is_proved(biggait: BigGait, biggait_bundle: Bundle) -> None:
    """Every runtime here, full size; with untrained weights, so that bf16 stays forbidden."""
    report = prove(TrainedBigGait(biggait), biggait_bundle)
    report.require()
    assert "bf16" not in report.allowed_precisions
    assert {"fp32", "fp16"} <= set(report.allowed_precisions)
    embedding = {(row.runtime, row.precision): row for row in report.rows if row.output == "embedding"}
    for runtime in ("openvino", "onnxruntime"):
        distance = embedding[runtime, "fp32"].distance
        assert distance.relative < 1e-5
        assert distance.order_kept == 1.0
        assert distance.centred_relative is not None
        assert distance.centred_relative > distance.relative


def test_a_bundle_opens_with_its_contract_and_proof(proved_heat: Exported) -> None:
    bundle = Bundle.open(proved_heat.bundle.root)
    manifest = bundle.manifest
    assert manifest.input.channels == 4
    assert manifest.alignment is not None
    assert manifest.alignment.gamma_deg == 20.0
    assert (manifest.embedding.parts, manifest.embedding.dim) == (16, 8)
    assert manifest.features["features"].shape == (16, 16, 12)
    assert list(manifest.source) == ["heat.pt"]
    assert manifest.allowed_precisions == proved_heat.report.allowed_precisions
    parity = bundle.parity()
    assert parity["graphs"] == bundle.fingerprint
    assert {row["output"] for row in parity["rows"]} == {"parts", "features", "embedding"}
    text = (bundle.root / "report.md").read_text()
    assert "| embedding | openvino | fp32 |" in text


def test_half_precision_is_typed_in_the_graph(biggait_bundle: Bundle) -> None:
    """Half weights and operations; LayerNorm and softmax take float32."""
    model = onnx.load(biggait_bundle.graph("frame", "fp16"))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = sum(np.prod(t.dims) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    total = sum(np.prod(t.dims) for t in model.graph.initializer)
    assert half / total > 0.99
    known = {i.name: i.type.tensor_type.elem_type for i in model.graph.value_info}
    for node in model.graph.node:
        kinds = {types.get(name, known.get(name)) for name in node.input}
        if node.op_type in ("LayerNormalization", "Softmax"):
            assert kinds <= {onnx.TensorProto.FLOAT}
        if node.op_type in ("Conv", "Gelu"):
            assert kinds <= {onnx.TensorProto.FLOAT16}
    inputs = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    assert inputs == {"crops": onnx.TensorProto.UINT8, "ratios": onnx.TensorProto.FLOAT}
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_graphs_are_of_a_current_opset_with_an_open_batch(
    biggait_bundle: Bundle, gaitheat_bundle: Bundle
) -> None:
    for bundle in (biggait_bundle, gaitheat_bundle):
        for graphs in bundle.manifest.graphs.values():
            for name in (graphs.frame, graphs.head, graphs.align):
                if name is None:
                    continue
                model = onnx.load(bundle.root / name)
                assert model.opset_import[0].version >= 20
                assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
                for value in (*model.graph.input, *model.graph.output):
                    assert value.type.tensor_type.shape.dim[0].dim_param == "n"


def test_exporting_twice_gives_the_same_fingerprint(small_gaitheat: GaitHeat, tmp_path: Path) -> None:
    prints = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prints.add(write_bundle(TrainedGaitHeat(small_gaitheat), tmp_path / name).fingerprint)
    (tmp_path / "three").mkdir()
    trained = TrainedGaitHeat(small_gaitheat, GaitHeatOptions(gamma_deg=20.0))
    other = write_bundle(trained, tmp_path / "three").fingerprint
    assert len(prints) == 1
    assert other not in prints


def poison(bundle: Bundle, graph: str, kind: str, index: int) -> None:
    """Double one weight tensor of a graph, and seal the bundle again as if it were right."""
    path = bundle.root / graph
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = [n.input[1] for n in model.graph.node if n.op_type == kind and n.input[1] in tensors]
    tensor = tensors[weights[index]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    onnx.save(model, path)
    write_manifest(bundle.manifest, bundle.root)


def written(model: TrainedModel, root: Path) -> Bundle:
    root.mkdir()
    return Bundle(root, write_bundle(model, root, ExportOptions(precisions=("fp32",))))


@pytest.fixture(scope="module")
def small_case(small_biggait: BigGait) -> Case:
    return TrainedBigGait(small_biggait).case()


@pytest.mark.parametrize(("graph", "kind"), [("head.onnx", "MatMul"), ("align.onnx", "Gather")])
def test_a_wrong_graph_is_named(small_gaitheat: GaitHeat, tmp_path: Path, graph: str, kind: str) -> None:
    trained = TrainedGaitHeat(small_gaitheat)
    bundle = written(trained, tmp_path / "bundle")
    poison(bundle, graph, kind, 0)
    with pytest.raises(ExportError, match=f"parity does not hold[^|]*the {graph.split('.')[0]} graph"):
        prove(trained, bundle).require()


def test_a_wrong_weight_fails_the_proof_and_is_located(small_gaitheat: GaitHeat, tmp_path: Path) -> None:
    trained = TrainedGaitHeat(small_gaitheat)
    bundle = written(trained, tmp_path / "bundle")
    poison(bundle, "frame.onnx", "Conv", 3)
    with pytest.raises(ExportError, match="diverges between 'fused1' and 'fused2'"):
        prove(trained, bundle).require()


@pytest.mark.parametrize(
    ("kind", "index", "says"),
    [
        ("MatMul", 4 * 4 + 2, "between 'block3' and 'block4'"),
        ("MatMul", 4 * 24, "between 'valid' and 'mask_logit'"),
        ("Conv", 0, "between the inputs and 'tokens'"),
        ("Conv", 5, "between 'appearance' and 'fused'"),
        ("Conv", -1, "after 'fused'"),
    ],
)
def test_a_wrong_weight_of_biggait_is_located(
    small_biggait: BigGait, small_case: Case, tmp_path: Path, kind: str, index: int, says: str
) -> None:
    bundle = written(TrainedBigGait(small_biggait), tmp_path / "bundle")
    poison(bundle, "frame.onnx", kind, index)
    runner = BundleRunner(bundle, "openvino", "fp32", EngineCache(tmp_path / "cache"))
    assert says in Comparison(runner, small_case, small_case.limits.fp32).diverging_tap()


def test_a_deep_backbone_with_other_widths_is_proved(small_biggait: BigGait, tmp_path: Path) -> None:
    trained = TrainedBigGait(small_biggait)
    bundle = written(trained, tmp_path / "bundle")
    report = prove(trained, bundle)
    report.require()
    assert bundle.manifest.embedding.dim == 8
    assert {row.verdict for row in report.rows if row.precision == "fp32"} == {"pass"}


def test_nothing_is_left_behind_when_the_proof_fails(
    small_gaitheat: GaitHeat, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = TrainedGaitHeat.case
    monkeypatch.setattr(TrainedGaitHeat, "case", lambda self: replace(right(self), limits=Limits(fp32=0.0)))
    checkpoint = save({"model": small_gaitheat.state_dict()})
    with pytest.raises(ExportError, match="no bundle was written"):
        export_bundle("gaitheat", checkpoint, tmp_path / "out" / "bundle")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def half_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """GaitHeat's half-precision head doubles one row of every part's projection."""
    right = TrainedGaitHeat.graphs

    def graphs(self: TrainedGaitHeat, *, half: bool) -> dict[str, onnx.ModelProto]:
        written = right(self, half=half)
        if half:
            tensor = max(written["head"].graph.initializer, key=lambda one: len(one.raw_data))
            weight = numpy_helper.to_array(tensor).copy()
            weight[:, ::3] *= 2
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
        return written

    monkeypatch.setattr(TrainedGaitHeat, "graphs", graphs)


@pytest.mark.usefixtures("half_is_wrong")
def test_a_precision_nobody_asked_for_is_left_out_when_it_does_not_hold(
    small_gaitheat: GaitHeat, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = save({"model": small_gaitheat.state_dict()}), tmp_path / "bundle"
    assert main(["export", "gaitheat", "--checkpoint", str(checkpoint), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "fp16 is left out of the bundle: embedding on onnxruntime in fp16: distances change" in printed.err
    assert "FP16 IS LEFT OUT" in printed.out
    bundle = Bundle.open(out)
    assert list(bundle.manifest.graphs) == ["fp32"]
    assert bundle.manifest.allowed_precisions == ("fp32",)
    assert not list(out.glob("*fp16*"))
    parity = bundle.parity()
    assert parity["graphs"] == bundle.fingerprint
    assert "the head graph" in parity["left_out"]["fp16"][0]
    half = [row for row in parity["rows"] if row["precision"] == "fp16" and row["output"] == "embedding"]
    assert {(row["verdict"], row["judged"]) for row in half} == {("fail", "distances")}
    assert "FP16 IS LEFT OUT" in (out / "report.md").read_text()


@pytest.mark.usefixtures("half_is_wrong")
def test_a_precision_that_was_asked_for_fails_the_export(
    small_gaitheat: GaitHeat, save: Save, tmp_path: Path
) -> None:
    checkpoint = save({"model": small_gaitheat.state_dict()})
    with pytest.raises(ExportError, match=r"(?s)in fp16: distances change by .*leave it out with"):
        export_bundle(
            "gaitheat", checkpoint, tmp_path / "out", options=ExportOptions(precisions=("fp32", "fp16"))
        )
    assert not (tmp_path / "out").exists()


def test_a_destination_in_use_is_left_alone(proved_heat: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--overwrite"):
        export_bundle("gaitheat", tmp_path / "none.pt", proved_heat.bundle.root)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(ExportError, match="not a bundle"):
        export_bundle(
            "gaitheat", tmp_path / "none.pt", tmp_path / "notes", options=ExportOptions(overwrite=True)
        )


def test_the_command_exports_and_prints_the_proof(
    small_gaitheat: GaitHeat, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = save({"model": small_gaitheat.state_dict()}), tmp_path / "bundle"
    arguments = [
        "export",
        "gaitheat",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(out),
        "--precision",
        "fp32",
    ]
    assert main([*arguments, "--groups", "0-4,5-10,11+12+13+14+15+16", "--normalization", "tracklet"]) == 0
    printed = capsys.readouterr()
    assert "embedding" in printed.out
    assert Bundle.open(out).fingerprint[:12] in printed.out
    assert "comparing openvino fp32" in printed.err
    assert json.loads((out / "manifest.json").read_text())["alignment"]["normalization"] == "tracklet"
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_metric_that_a_checkpoint_was_trained_for_is_part_of_the_model(
    small_gaitheat: GaitHeat, proved_heat: Exported, save: Save, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    arguments = ["--checkpoint", str(save({"model": small_gaitheat.state_dict()})), "--out", str(out)]
    assert main(["export", "gaitheat", *arguments, "--precision", "fp32", "--metric", "cos"]) == 0
    bundle, usual = Bundle.open(out), proved_heat.bundle
    assert bundle.manifest.embedding.metric == "mean_part_cosine"
    assert usual.manifest.embedding.metric == "mean_part_l2"
    assert "--metric cos" in export_command(bundle, "demo")
    assert "--metric" not in export_command(usual, "demo")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["gaitheat", "--groups", "0-10,x"], 2, "cannot read 'x'"),
        (["gaitheat", "--groups", "0-17"], 2, "joints 0 to 16"),
        (["gaitheat", "--groups", "9-3"], 2, "rising order"),
        (["biggait", "--precision", "bf16"], 2, "bf16 has no graphs"),
        (["biggait", "--precision", "int4"], 2, "'int4'"),
        (["biggait"], 1, "there is no checkpoint"),
        (["gaitheat", "--gamma", "95"], 2, "gamma is 95 degrees"),
        (["gaitheat", "--gamma", "five"], 2, "'five' is not a number"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--checkpoint", str(tmp_path / "none.pt"), "--out", str(tmp_path / "out")]
    assert main(["export", *arguments, *shared]) == code
    assert says in capsys.readouterr().err


def labelled(bundle: Bundle, path: Path, noise: float = 0.0) -> Path:
    """Parts of three people, three sequences each."""
    rng = np.random.default_rng(0)
    contract = bundle.manifest.alignment
    assert contract is not None
    parts, sequence, label = [], [], []
    for person in range(3):
        for clip in range(3):
            for phase in (0.0, 1.5):
                maps, _ = draw_heatmaps(person, phase + 0.1 * clip, 0.0, rng)
                torch = pytest.importorskip("torch")
                merged = merge_parts(torch.from_numpy(maps[None]), contract.groups)[0].numpy()
                parts.append(merged + noise * rng.random(merged.shape, np.float32))
                sequence.append(10 * person + clip)
                label.append(f"p{person}")
    np.savez(path, parts=np.stack(parts), sequence=sequence, label=label)
    return path


def test_labelled_data_decides_on_lower_precisions(proved_heat: Exported, tmp_path: Path) -> None:
    bundle = proved_heat.bundle
    data = LabelledCalibration.read(labelled(bundle, tmp_path / "labels.npz"), bundle)
    judgement = judge(data, bundle, [("onnxruntime", "fp16"), ("openvino", "fp32")], EngineCache(tmp_path))
    assert (judgement.sequences, judgement.people) == (9, 3)
    assert [score.precision for score in judgement.scores] == ["fp32", "fp16"]
    assert judgement.keeps("fp16")
    assert judgement.keeps("bf16") is None
    assert "accuracy kept" in judgement.sentences()[1]


def test_labelled_data_allows_bf16_in_the_proof(
    small_gaitheat: GaitHeat, proved_heat: Exported, tmp_path: Path
) -> None:
    path = labelled(proved_heat.bundle, tmp_path / "labels.npz")
    trained = TrainedGaitHeat(
        small_gaitheat, GaitHeatOptions(groups=((0, 1), (5, 6, 7), (11, 12)), gamma_deg=20.0)
    )
    report = prove(trained, proved_heat.bundle, LabelledCalibration.read(path, proved_heat.bundle))
    ran_bf16 = any(row.precision == "bf16" for row in report.rows)
    assert report.calibration is not None
    assert ("bf16" in report.allowed_precisions) == ran_bf16
    assert "bf16" not in proved_heat.report.allowed_precisions


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parts": None}, "lacks parts"),
        ({"label": None}, "lacks label"),
        (
            {"parts": np.zeros((18, 3, 64, 48), np.float32)},
            r"\(3, 64, 48\) each, the model takes \(4, 64, 48\)",
        ),
        ({"label": np.array(["p0"] * 18)}, "at least two people"),
    ],
)
def test_labelled_data_that_does_not_fit_is_refused(
    proved_heat: Exported, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with np.load(labelled(proved_heat.bundle, tmp_path / "labels.npz")) as data:
        arrays = {name: value for name, value in {**data, **change}.items() if value is not None}
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ExportError, match=says):
        LabelledCalibration.read(tmp_path / "wrong.npz", proved_heat.bundle)
    with pytest.raises(ExportError, match="cannot read"):
        LabelledCalibration.read(tmp_path / "none.npz", proved_heat.bundle)


def test_drawn_inputs_are_fixed_and_varied(small_gaitheat: GaitHeat) -> None:
    case, again = TrainedGaitHeat(small_gaitheat).case(), TrainedGaitHeat(small_gaitheat).case()
    assert np.array_equal(case.feeds["parts"], again.feeds["parts"])
    assert len(pool(case.features["features"], case.sequences)) == 6
    crop = draw_crop(0, 0.3, 0.25, np.random.default_rng(1))
    assert crop.shape == (3, 256, 128)
    assert not crop[:, :, :32].any()
    assert crop[:, :, 32:96].any(0).all()


def test_distances_say_when_nothing_is_right() -> None:
    reference = np.random.default_rng(0).standard_normal((4, 3, 5))
    assert measure(reference, reference, embedding=True).relative == 0
    assert order_kept(reference, reference) == 1
    assert distance_change(reference, reference) < 1e-12
    broken = reference.copy()
    broken[0, 0, 0] = np.nan
    distance = measure(broken, reference, embedding=True)
    assert not distance.relative <= 1
    assert distance.order_kept == 0
    assert distance.distance_change == float("inf")
    with pytest.raises(ExportError, match="where the module gives"):
        measure(reference[:2], reference)


def test_a_change_of_distances_is_a_share_of_their_mean() -> None:
    """Three sequences of one part, on a line at 0, 3 and 9: distances 3, 6 and 9."""
    reference = np.array([0.0, 3.0, 9.0]).reshape(3, 1, 1)
    assert distance_change(reference * 1.1, reference) == pytest.approx(0.9 / 6)
    moved = reference.copy()
    moved[2] += 0.6
    assert distance_change(moved, reference) == pytest.approx(0.6 / 6)
    # The same step for all leaves their own distances, and changes those to templates of the reference.
    assert distance_change(reference + 0.3, reference) == pytest.approx(0.3 / 6)


def test_groups_are_read_from_text() -> None:
    assert parse_groups("0-2,5+7, 11-12+15") == ((0, 1, 2), (5, 7), (11, 12, 15))
    with pytest.raises(ConfigError, match="cannot read ''"):
        parse_groups("")

"""Export in int8: what calibrates, what is judged, and what becomes of a bundle."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.registry import choose, survey
from gaitstream.errors import BundleError, ConfigError, ExportError
from gaitstream.export import calibration, sources
from gaitstream.export.api import ExportOptions, export_bundle
from gaitstream.export.calibration import LabelledCalibration, embed, frame_inputs, judge
from gaitstream.export.drawn import Cast, draw_walks, gather
from gaitstream.export.sources import divide, read_walks
from gaitstream.export.verdicts import allow
from gaitstream.models.bundle import Bundle
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.manifest import ClipContract
from gaitstream.models.recognizer import Recognizer

pytest.importorskip("nncf", reason="needs the extra [int8]")

Save = Callable[..., Path]
GROUPS = ((0, 1), (5, 6, 7), (11, 12))


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of people, so that drawing them takes no time."""
    monkeypatch.setattr(sources, "CALIBRATING", Cast(0, 4, 1, 3))
    monkeypatch.setattr(sources, "JUDGED", Cast(1000, 3, 2, 3))
    monkeypatch.setattr("gaitstream.export.drawn.CAMERAS", 1)


def labelled(path: Path, people: int = 6, clips: int = 2, frames: int = 2) -> Path:
    """Parts in the order of people, clips and frames: people differ by where their parts are."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :48]
    parts = [
        np.exp(-((x - 20 - person - rng.normal()) ** 2 + (y - 16 * (1 + part)) ** 2) / 30)
        for person in range(people)
        for _ in range(clips * frames)
        for part in range(4)
    ]
    count = people * clips * frames
    np.savez(
        path,
        parts=np.stack(parts).reshape(count, 4, 64, 48).astype(np.float32),
        sequence=np.repeat(np.arange(people * clips), frames),
        label=np.repeat([f"p{person}" for person in range(people)], clips * frames),
    )
    return path


def test_the_command_exports_int8_with_what_it_costs(
    shallow_gaitheat: GaitHeat, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = save({"model": shallow_gaitheat.state_dict()}), tmp_path / "out"
    arguments = ["--checkpoint", str(checkpoint), "--out", str(out), "--precision", "fp32,int8"]
    source = ["--calibration", str(labelled(tmp_path / "labels.npz")), "--groups", "0-1,5-7,11-12"]
    assert main(["export", "gaitheat", *arguments, *source]) == 0
    bundle = Bundle.open(out)
    assert set(bundle.manifest.graphs) == {"fp32", "int8"}
    eight = bundle.manifest.graphs["int8"]
    assert (eight.frame, eight.head, eight.align) == ("frame.int8.onnx", "head.onnx", "align.onnx")
    parity = bundle.parity()
    (how,) = parity["quantised"]
    assert (how["source"], how["people"]) == ("labels.npz", 1)
    assert how["layers"] > 5
    assert 0 < how["noise"] <= how["noise_all"]
    # One of the six people calibrates and is not judged.
    assert (parity["calibration"]["people"], parity["calibration"]["sequences"]) == (5, 10)
    rows = {(row["runtime"], row["precision"]): row for row in parity["rows"] if row["output"] == "embedding"}
    assert rows["openvino", "int8"]["matrix_int8_share"] > 0.5
    assert rows["openvino", "int8"]["judged"] == "distances"
    kept = all(one["kept"] for one in parity["calibration"]["scores"] if one["precision"] == "int8")
    assert ("int8" in bundle.manifest.allowed_precisions) == kept
    printed = capsys.readouterr()
    assert "int8 on openvino: rank-1" in printed.out
    assert "ranges from" in printed.out


def test_a_bundle_in_int8_is_opened_and_close_to_fp32(
    shallow_gaitheat: GaitHeat, save: Save, tmp_path: Path
) -> None:
    exported = export_bundle(
        "gaitheat",
        save({"model": shallow_gaitheat.state_dict()}),
        tmp_path / "out",
        options=ExportOptions(precisions=("fp32", "int8"), calibration="synth"),
        groups=GROUPS,
    )
    assert [how.source for how in exported.report.quantised] == ["synth"]
    assert exported.report.calibration is not None
    assert exported.report.calibration.people == 3
    walks = draw_walks(exported.bundle, Cast(2000, 1, 1, 4))
    found = {}
    for precision in ("fp32", "int8"):
        model = Recognizer.load(exported.bundle, "openvino", precision)
        assert model.precision == precision
        found[precision] = model.embed(walks.feeds["parts"])
        model.close()
    gap = np.linalg.norm(found["int8"] - found["fp32"]) / np.linalg.norm(found["fp32"])
    assert 1e-5 < gap < 0.5  # the model is narrow and untrained: each of its few channels weighs much


def test_auto_takes_int8_only_where_it_was_shown(biggait_bundle: Bundle) -> None:

    probe = next(one.probe for one in survey() if one.name == "openvino")
    assert probe is not None
    assert "int8" in probe.precisions
    every = ("fp32", "fp16", "bf16", "int8")
    assert choose("openvino", allowed=every, stored=("fp32", "int8")).precision == "int8"
    assert choose("openvino", allowed=every, stored=("fp32",)).precision != "int8"
    assert choose("openvino", allowed=("fp32",), stored=every).precision == "fp32"
    # Asked for where there are no such graphs, it is an error that says how to make them.
    with pytest.raises(BundleError, match=r"no int8 graphs .*export with --precision int8"):
        Recognizer.load(biggait_bundle, "openvino", "int8")


@pytest.mark.parametrize("name", ["gaitset", "gaittr", "skeletongait", "biggergait_group"])
def test_every_way_of_looking_at_a_person_is_drawn(name: str, family_bundle: Callable[[str], Bundle]) -> None:
    """Silhouettes, joints, skeleton maps and crops, as each graph takes them."""
    bundle = family_bundle(name)
    walks = draw_walks(bundle, Cast(5, 2, 1, 3))
    wanted = frame_inputs(bundle)
    assert walks.feeds.keys() == wanted.keys()
    for name, (dtype, shape) in wanted.items():
        array = walks.feeds[name]
        assert (array.dtype, array.shape[1:]) == (dtype, shape)
        assert len(array) == len(walks.sequence)
        assert array.std() > 0
    clip, lengths = bundle.manifest.clip, np.bincount(walks.sequence)
    if clip is None:
        assert lengths.tolist() == [3, 3]
    else:
        assert all(clip.fit(length) == length for length in lengths.tolist())
    assert walks.label.tolist() == [5, 6]


def test_who_calibrates_is_not_judged() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(12), 3)
    data = LabelledCalibration("x", {"a": rng.random((72, 2))}, np.repeat(np.arange(36), 2), label)
    walks = divide(data)
    assert len(np.unique(walks.calibrating.label)) == 3
    assert not set(walks.calibrating.label) & set(walks.judged.label)
    assert set(walks.calibrating.label) | set(walks.judged.label) == set(range(12))
    rows = {tuple(row) for row in walks.judged.feeds["a"]}
    assert not rows & {tuple(row) for row in walks.calibrating.feeds["a"]}
    assert len(walks.judged.sequence) == 54
    pair = LabelledCalibration("two", {"a": rng.random((4, 2))}, np.arange(4), np.repeat([0, 1], 2))
    with pytest.raises(ExportError, match=r"two without the 1 of 2 people who calibrate .* at least two"):
        divide(pair)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--precision", "fp32,int8"], 1, "int8 needs inputs .* give --calibration synth"),
        (
            ["--precision", "int8", "--calibration", "gone.mp4"],
            1,
            "no calibration source gone.mp4: give 'synth'",
        ),
        (["--precision", "fp32,int4"], 2, "no 'int4' graphs: use one or more of fp32, fp16, int8, fp8"),
    ],
)
def test_a_bad_source_is_named(
    arguments: list[str], code: int, says: str, shallow_gaitheat: GaitHeat, save: Save, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoint = save({"model": shallow_gaitheat.state_dict()})
    shared = ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
    assert main(["export", "gaitheat", *shared, *arguments]) == code
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": np.zeros((5, 3, 64, 48))}, "does not have one row of each per frame"),
        ({"parts": np.zeros((99, 3, 64, 48))}, "does not have one row of each per frame"),
        ({"label": np.arange(4)}, r"does not have one row of each per frame.*label \(4,\)"),
        ({"sequence": np.zeros((24, 2), int)}, "does not have one row of each per frame"),
        ({"label": np.int64(3)}, "does not have one row of each per frame"),
        ({"label": np.arange(24) % 4}, "a sequence with frames of several labels"),
        ({"parts": np.full((24, 3, 64, 48), np.nan)}, "no finite float32"),
        ({"parts": np.full((24, 3, 64, 48), 1e300)}, "no finite float32"),
        ({"parts": np.full((24, 3, 64, 48), "x")}, "the model takes float32"),
        ({"parts": np.full((24, 3, 64, 48), 255, np.uint8)}, r"in 255\.\.255: .*heatmaps are in 0\.\.1"),
    ],
)
def test_labelled_inputs_that_do_not_fit_together_are_refused(
    changes: dict[str, Any], said: str, gaitheat_bundle: Bundle, tmp_path: Path
) -> None:
    with np.load(labelled(tmp_path / "labels.npz")) as data:
        arrays = {name: data[name] for name in data.files}
    np.savez(tmp_path / "wrong.npz", **(arrays | {"parts": arrays["parts"][:, :3]} | changes))
    with pytest.raises(ExportError, match=said):
        read_walks(tmp_path / "wrong.npz", gaitheat_bundle)


def silhouettes(path: Path, kind: str, lengths: tuple[int, ...] = (4, 3, 4, 3)) -> Path:
    """Noise in silhouettes of two people in two sequences each, stored as this or that."""
    count = sum(lengths)
    inside = np.random.default_rng(2).random((count, 1, 64, 44)) < 0.3
    ways: dict[str, Any] = {
        "bytes": inside.astype(np.uint8) * 255,
        "shares": inside.astype(np.float32),
        "bools": inside,
        "ones": inside.astype(np.uint8),
        "large": inside.astype(np.float32) * 255,
    }
    order = np.repeat(np.arange(len(lengths)), lengths)
    np.savez(path, silhouettes=ways[kind], sequence=order, label=order % 2)
    return path


@pytest.mark.parametrize("kind", ["bytes", "bools"])
def test_silhouettes_calibrate_the_same_however_they_are_stored(
    kind: str, family_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    """Bytes mean shares of white, as everywhere else: ranges read from 0..255 would be 255 times too wide."""
    bundle = family_bundle("gaitset")
    expected = LabelledCalibration.read(silhouettes(tmp_path / "a.npz", "shares"), bundle)
    found = LabelledCalibration.read(silhouettes(tmp_path / "b.npz", kind), bundle)
    np.testing.assert_array_equal(found.feeds["silhouettes"], expected.feeds["silhouettes"])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ones", "silhouettes are uint8 of 0 and 1: give 0 and 255, bools"),
        ("large", r"silhouettes are float32 in 0.0..255.0: give uint8 in 0..255"),
    ],
)
def test_labelled_silhouettes_of_another_scale_are_refused(
    kind: str, said: str, family_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=said):
        LabelledCalibration.read(silhouettes(tmp_path / "a.npz", kind), family_bundle("gaitset"))


def test_labelled_crops_are_bytes(biggait_bundle: Bundle, tmp_path: Path) -> None:
    """Shares of white in floats would all become 0."""
    crops = np.random.default_rng(3).random((4, 3, 256, 128), np.float32)
    sequence = np.arange(4)
    np.savez(tmp_path / "a.npz", crops=crops, ratios=np.full(4, 0.4), sequence=sequence, label=sequence % 2)
    with pytest.raises(ExportError, match=r"crops in .* are float32: give uint8, 0\.\.255"):
        LabelledCalibration.read(tmp_path / "a.npz", biggait_bundle)


def test_labelled_windows_are_as_long_as_a_clip_graph_takes_them(
    family_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    """GaitGL repeats one frame three times and two frames twice, here as in a live pipeline."""
    bundle = family_bundle("gaitgl")
    found = LabelledCalibration.read(silhouettes(tmp_path / "a.npz", "bytes", (1, 2, 3, 5)), bundle)
    assert np.bincount(found.sequence).tolist() == [3, 4, 3, 5]
    model = Recognizer.load(bundle, "openvino", "fp32")
    with np.load(tmp_path / "a.npz") as data:
        windows = [data["silhouettes"][data["sequence"] == index] for index in range(4)]
    expected = np.stack([model.embed(window) for window in windows])
    model.close()
    with tempfile.TemporaryDirectory() as folder:
        cache = EngineCache(Path(folder))
        embedded = embed(found, bundle, "openvino", "fp32", cache)
    np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-5)
    longer = msgspec.structs.replace(bundle.manifest, clip=ClipContract(min_frames=3))
    with pytest.raises(ExportError, match="a sequence of 1 frames, the model takes 3 to any number of"):
        LabelledCalibration.read(tmp_path / "a.npz", Bundle(bundle.root, longer))


def test_precisions_are_judged_by_the_metric_of_the_model(
    family_bundle: Callable[[str], Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """GaitGraph2 is compared by the cosine: that embeddings grow longer changes none of its decisions."""
    bundle = family_bundle("gaitgraph2")
    rng = np.random.default_rng(4)
    label = np.repeat(np.arange(8), 2)
    reference = (rng.normal(size=(8, 1, 384))[label] + 0.3 * rng.normal(size=(16, 1, 384))).astype(np.float32)
    longer = reference * rng.uniform(0.2, 5, (16, 1, 1)).astype(np.float32)
    embedded = {"fp32": reference, "int8": longer}
    monkeypatch.setattr(calibration, "embed", lambda _d, _b, _r, precision, _c: embedded[precision])
    data = LabelledCalibration("x", {}, np.arange(16), label)
    found = judge(data, bundle, [("openvino", "fp32"), ("openvino", "int8")], EngineCache(tmp_path))
    assert found.keeps("int8")
    assert found.scores[1].order_kept == 1


def test_people_whom_fp32_does_not_tell_apart_allow_nothing(
    family_bundle: Callable[[str], Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At chance no precision loses anything, however far its embeddings are off."""
    rng = np.random.default_rng(5)
    anyone, anyone_else = (rng.normal(size=(40, 62, 4)).astype(np.float32) for _ in range(2))
    embedded = {"fp32": anyone, "int8": anyone_else, "bf16": anyone}
    monkeypatch.setattr(calibration, "embed", lambda _d, _b, _r, precision, _c: embedded[precision])
    data = LabelledCalibration("x", {}, np.arange(40), np.repeat(np.arange(20), 2))
    ran: list[tuple[str, Any]] = [("openvino", one) for one in ("fp32", "int8", "bf16")]
    found = judge(data, family_bundle("gaitset"), ran, EngineCache(tmp_path))
    assert allow((), found) == ("fp32",)
    assert "these people show nothing of lower precisions" in found.sentences()[-1]


def test_a_damaged_file_of_labelled_inputs_is_refused(gaitheat_bundle: Bundle, tmp_path: Path) -> None:
    whole = labelled(tmp_path / "labels.npz").read_bytes()
    header = whole.find(b"NUMPY") + 8
    damaged = [b"", b"hello", whole[: len(whole) // 2], whole[:header] + bytes(22) + whole[header + 22 :]]
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content in (*damaged, (tmp_path / "one.npy").read_bytes()):
        (tmp_path / "wrong.npz").write_bytes(content)
        with pytest.raises(ExportError, match="cannot read the calibration set"):
            read_walks(tmp_path / "wrong.npz", gaitheat_bundle)


def test_a_stream_is_watched_for_so_long_and_no_longer(
    gaitheat_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STREAM_S", 0.2)
    with pytest.raises(ExportError, match="shows 0 person-frames"):
        read_walks("synth://plaza?camera=1&people=0&live=1", gaitheat_bundle)


def test_a_video_that_is_none_or_shows_nobody_is_refused(gaitheat_bundle: Bundle, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(ConfigError, match="is no video: give a file"):
        read_walks("", gaitheat_bundle)
    with pytest.raises(ConfigError, match="there is no host behind"):
        read_walks("rtsp://", gaitheat_bundle)
    with pytest.raises(ExportError, match=r"cannot calibrate with .*notes\.mp4"):
        read_walks(str(text), gaitheat_bundle)
    with pytest.raises(ExportError, match="shows 0 person-frames"):
        read_walks("synth://plaza?camera=1&people=0&seconds=1", gaitheat_bundle)


def test_a_video_calibrates_by_its_tracks(gaitheat_bundle: Bundle) -> None:
    walks = read_walks("synth://plaza?camera=1&people=3&seconds=6&seed=5", gaitheat_bundle)
    assert walks.calibrating.source == "video"
    assert len(walks.calibrating.sequence) >= sources.FEWEST
    assert walks.calibrating.feeds["parts"].shape[1:] == (3, 64, 48)
    assert walks.judged.source == "synth"


def test_what_only_a_data_set_holds_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest: Any = type("M", (), {"needs": frozenset({"representation"}), "model": "multigaitpp"})()
    with pytest.raises(ExportError, match="multigaitpp looks at pictures that only a data set has"):
        gather([], manifest, None)

"""A whole evaluation on a data set written in OpenGait's layout, and what a damaged one is answered with."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the bundle is written with the extra 'export'")

from gaitstream.cli import main  # noqa: E402
from gaitstream.errors import BundleError, ConfigError, GaitstreamError, SourceError  # noqa: E402
from gaitstream.evaluate import collecting, evaluation  # noqa: E402
from gaitstream.evaluate.benchmarks import PROTOCOLS, find_protocol, published  # noqa: E402
from gaitstream.evaluate.collecting import collect  # noqa: E402
from gaitstream.evaluate.dataset import WalkingSequence, load, read_partition, read_pickle, scan  # noqa: E402
from gaitstream.evaluate.embedding import inputs_of  # noqa: E402
from gaitstream.evaluate.evaluation import Result, _verification, evaluate  # noqa: E402
from gaitstream.evaluate.options import EvaluationOptions  # noqa: E402
from gaitstream.evaluate.page import render  # noqa: E402
from gaitstream.evaluate.protocols import Sequences  # noqa: E402
from gaitstream.export.api import ExportOptions, write_bundle  # noqa: E402
from gaitstream.models.bundle import Bundle  # noqa: E402
from gaitstream.models.graphs.inputs import CROP  # noqa: E402
from gaitstream.models.graphs.walkers import draw_silhouette  # noqa: E402
from gaitstream.models.manifest import (  # noqa: E402
    ClipContract,
    EmbeddingContract,
    InputContract,
    InputKind,
    Manifest,
)
from gaitstream.models.spec import find_family  # noqa: E402

PEOPLE = ("001", "002", "003")
CONDITIONS = ("nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "bg-02", "cl-01", "cl-02")
VIEWS = ("000", "090")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn people in CASIA-B's conditions and two views, silhouettes of 64 x 64."""
    root = tmp_path_factory.mktemp("casia")
    for number, person in enumerate(PEOPLE):
        for c, condition in enumerate(CONDITIONS):
            for v, view in enumerate(VIEWS):
                folder = root / person / condition / view
                folder.mkdir(parents=True)
                frames = [draw_silhouette(number, 0.7 * (c + v) + 0.5 * f, 2.0 * v) for f in range(5)]
                (folder / f"{view}.pkl").write_bytes(pickle.dumps(np.stack(frames)))
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GaitSet with random weights."""
    root = tmp_path_factory.mktemp("gaitset") / "bundle"
    root.mkdir()
    write_bundle(find_family("gaitset").random(3), root, ExportOptions(precisions=("fp32",)))
    return root


@pytest.mark.slow
def test_an_evaluation_resumes_and_keeps_what_made_it(
    dataset: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", str(bundle), "--data", str(dataset), "--protocol", "casia-b", "--out", str(out)]
    command += ["--runtime", "openvino", "--precision", "fp32"]
    assert main(command) == 0
    assert "NM rank-1" in capsys.readouterr().out
    result = json.loads((out / "evaluation.json").read_text())
    assert result["figures"].keys() == {"mean rank-1", "NM rank-1", "BG rank-1", "CL rank-1"}
    assert result["sequences"] == len(PEOPLE) * len(CONDITIONS) * len(VIEWS)
    assert (result["runtime"], result["precision"], result["identities"]) == ("openvino", "fp32", 3)
    assert "CASIA-B" in (out / "evaluation.html").read_text()
    stored = sorted((out / "embeddings").rglob("*.npy"))
    assert len(stored) == result["sequences"]
    before = {path: path.stat().st_mtime_ns for path in stored}
    stored[7].unlink()
    stored[9].with_suffix(".123.part").write_bytes(b"torn")
    assert main(command) == 0
    after = {path: path.stat().st_mtime_ns for path in stored}
    assert [path for path in stored if before[path] != after[path]] == [stored[7]]
    assert json.loads((out / "evaluation.json").read_text())["figures"] == result["figures"]


@pytest.mark.slow
def test_several_processes_give_the_same(dataset: Path, bundle: Path, tmp_path: Path) -> None:
    def run(processes: int) -> Result:
        return evaluate(
            EvaluationOptions(
                bundle=bundle, data=dataset, protocol="casia-b", out=tmp_path / str(processes),
                runtime="openvino", precision="fp32", processes=processes,
            )
        )  # fmt: skip

    one, two = run(1), run(2)
    assert one.figures == two.figures
    assert one.eer == pytest.approx(two.eer)


def silhouettes_of(root: Path, files: dict[str, np.ndarray]) -> Path:
    for name, array in files.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "x.pkl").write_bytes(pickle.dumps(array))
    return root


def collected(bundle: Path, data: Path, out: Path) -> np.ndarray:
    options = EvaluationOptions(
        bundle=bundle, data=data, protocol="grew", out=out, runtime="openvino", precision="fp32"
    )
    return collect(options, scan(data), lambda _done, _total: None, None).embeddings


def walk(seed: int) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random((3, 64, 64)) > 0.5, np.uint8(255), np.uint8(0))


def test_embeddings_are_those_of_the_data_they_were_made_of(bundle: Path, tmp_path: Path) -> None:
    """Not of another data set, nor of names that look alike, nor of what the files held before."""
    names = ("a__b/01/c", "a/b__01/c", "a/01/c")
    first = silhouettes_of(tmp_path / "a", {name: walk(i) for i, name in enumerate(names)})
    second = silhouettes_of(tmp_path / "b", {name: walk(10 + i) for i, name in enumerate(names)})
    out = tmp_path / "out"
    found = collected(bundle, first, out)
    assert len({one.tobytes() for one in found}) == 3
    other = collected(bundle, second, out)
    np.testing.assert_array_equal(other, collected(bundle, second, tmp_path / "fresh"))
    (second / names[0] / "x.pkl").write_bytes(pickle.dumps(walk(20)))
    assert not np.array_equal(collected(bundle, second, out), other)
    np.testing.assert_array_equal(collected(bundle, first, out), found)


@pytest.mark.parametrize("gone", [False, True])
def test_data_that_changes_meanwhile_is_said_so_and_all_else_is_kept(
    bundle: Path, tmp_path: Path, gone: bool
) -> None:
    data = silhouettes_of(tmp_path / "a", {f"{person}/01/c": walk(i) for i, person in enumerate("abc")})
    changed = data / "a/01/c/x.pkl"
    options = EvaluationOptions(
        bundle=bundle, data=data, protocol="grew", out=tmp_path, runtime="openvino", precision="fp32"
    )

    def change(done: int, _total: int) -> None:
        if done == 2:
            changed.write_bytes(pickle.dumps(walk(9)))
            if gone:
                changed.unlink()

    says = "x.pkl was there and cannot be read any more" if gone else "a/01/c was changed while"
    with pytest.raises(SourceError, match=f"{says}.*run it again.*is kept"):
        collect(options, scan(data), change, None)
    assert len(list(tmp_path.rglob("*.npy"))) == 3


def test_an_embedding_is_never_taken_for_that_of_data_written_while_it_was_made(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video takes minutes to embed: it may be written anew meanwhile."""
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1)})
    file = data / "a/01/c/x.pkl"
    reading = load

    def load_and_replace(sequence: WalkingSequence) -> list[np.ndarray]:
        arrays = reading(sequence)
        file.write_bytes(pickle.dumps(walk(2)[:2]))
        return arrays

    with monkeypatch.context() as patch:
        patch.setattr(collecting, "load", load_and_replace)
        with pytest.raises(SourceError, match="was changed"):
            collected(bundle, data, tmp_path / "out")
    again = collected(bundle, data, tmp_path / "out")
    np.testing.assert_array_equal(again, collected(bundle, data, tmp_path / "fresh"))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "shape"])
def test_a_damaged_embedding_is_made_again(bundle: Path, tmp_path: Path, damage: str) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1)})
    found = collected(bundle, data, tmp_path / "out")
    (stored,) = (tmp_path / "out").rglob("*.npy")
    whole = stored.read_bytes()
    np.save(stored, np.zeros((2, 3), np.float32))
    shape = stored.read_bytes()
    stored.write_bytes({"empty": b"", "cut": whole[:-9], "text": b"hello", "shape": shape}[damage])
    np.testing.assert_array_equal(collected(bundle, data, tmp_path / "out"), found)


def test_embeddings_that_cannot_be_kept_are_said_so(bundle: Path, tmp_path: Path) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1)})
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"nothing can be written to --out .*file: Not a directory"):
        collected(bundle, data, tmp_path / "file")


def test_a_full_disk_is_said_so_and_leaves_no_torn_file(bundle: Path, tmp_path: Path) -> None:
    """Files of more than 100 bytes cannot be written, as where there is no more room."""
    data, out = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1), "a/02/c": walk(2)}), tmp_path / "out"
    command = [
        "import resource, sys; from gaitstream.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); sys.exit(main(sys.argv[1:]))",
        "evaluate", str(bundle), "--data", str(data), "--protocol", "grew", "--out", str(out),
        "--runtime", "openvino",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"nothing can be written to --out {out}: File too large; free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_names_that_are_no_text_are_evaluated_and_of_videos_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = silhouettes_of(tmp_path / "d\udce9", {"a\udcff/01/c": walk(1), "a\udcff/02/c": walk(2)})
    command = ["evaluate", str(bundle), "--data", str(data), "--protocol", "grew", "--out", str(tmp_path)]
    assert main([*command, "--runtime", "openvino"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["data"] == "d\ufffd"
    (data / "a\udcff" / "01" / "d.mp4").touch()
    assert main(command) == 1
    assert "videos need names in UTF-8: rename it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["evaluation.json", "evaluation.html"])
def test_a_result_that_cannot_be_written_is_said_so(
    bundle: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1), "a/02/c": walk(2)})
    (tmp_path / "out" / name).mkdir(parents=True)
    command = ["evaluate", str(bundle), "--data", str(data), "--protocol", "grew"]
    assert main([*command, "--out", str(tmp_path / "out"), "--runtime", "openvino"]) == 2
    said = capsys.readouterr()
    assert "rank-1" in said.out, "the figures are lost"
    assert "all sequences are of one person" in said.out
    assert "nothing can be written to --out" in said.err


@pytest.mark.parametrize("dtype", ["bool", "int64", "int16", "float32", "float64", "float32 shares"])
def test_pictures_of_any_type_are_the_same_pictures(bundle: Path, tmp_path: Path, dtype: str) -> None:
    """The published code divides by 255 whatever the type."""
    name, _, shares = dtype.partition(" ")
    walked = walk(1)
    other = walked > 0 if dtype == "bool" else (walked / 255 if shares else walked).astype(name)
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walked, "a/02/c": other})
    found = collected(bundle, data, tmp_path / "out")
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_silhouettes_of_0_and_1_are_not_taken_for_black_ones(
    bundle: Path, tmp_path: Path, dtype: str
) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": (walk(1) // 255).astype(dtype)})
    with pytest.raises(SourceError, match="a/01/c: silhouettes are uint8 of 0 and 1: give 0 and 255"):
        collected(bundle, data, tmp_path / "out")
    black = silhouettes_of(tmp_path / "b", {"a/01/c": np.zeros((3, 64, 64), np.uint8)})
    assert np.isfinite(collected(bundle, black, tmp_path / "out")).all()


@pytest.mark.parametrize("value", [-1.0, 300.0, np.nan])
def test_a_sequence_without_pictures_is_named(bundle: Path, tmp_path: Path, value: float) -> None:
    broken = walk(1).astype(np.float64)
    broken[1, 30, 30] = value
    data = silhouettes_of(tmp_path / "a", {"a/01/c": broken})
    with pytest.raises(
        SourceError, match=r"a/01/c: pictures are float64 in .*: expected are 0\.\.255 or 0\.\.1"
    ):
        collected(bundle, data, tmp_path / "out")


def embeddings(identities: list[str], conditions: list[str], views: list[str], seed: int = 0) -> Sequences:
    """Each person's embeddings lie close together: all is found."""
    rng = np.random.default_rng(seed)
    centre = {name: rng.normal(size=(2, 8)) for name in sorted(set(identities))}
    rows = [centre[name] + 0.01 * rng.normal(size=(2, 8)) for name in identities]
    return Sequences.of(rows, identities, conditions, views)


@pytest.mark.parametrize(
    ("protocol", "conditions", "views"),
    [
        ("ou-mvlp", ["00", "01"], ["000", "090"]),
        ("grew", ["01", "02"], ["a"]),
        ("ccgr", ["NM1", "BG1", "CL1"], ["v1", "v2"]),
        ("ccgr-easy", ["NM1", "BG1"], ["v1", "v2"]),
        ("sustech1k", ["00-nm", "01-nm", "01-bg"], ["000", "090"]),
    ],
)
def test_people_who_differ_are_all_found(protocol: str, conditions: list[str], views: list[str]) -> None:
    rows = [(p, c, v) for p in ("a", "b", "c") for c in conditions for v in views]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    figures = find_protocol(protocol).score(data, "euc", None).figures
    assert next(iter(figures.values())) == pytest.approx(100.0)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in ("gait3d", "ccgr-mini")])
def test_a_data_set_without_what_a_protocol_needs_has_no_figures(protocol: str) -> None:
    rows = [(p, c, v) for p in ("a", "b") for c in ("x", "y") for v in ("000", "090")]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    with pytest.raises(
        GaitstreamError, match=r"needs .*; the data set has the types x, y and the views 000, 090"
    ):
        find_protocol(protocol).score(data, "euc", None)


@pytest.mark.parametrize(
    ("conditions", "views", "says"),
    [
        (CONDITIONS, ("000",), "the views 000$"),
        (CONDITIONS[:8], VIEWS, "no pairs of probe and gallery for mean rank-1, CL rank-1\n"),
        (CONDITIONS[4:], VIEWS, "NM rank-1, BG rank-1, CL rank-1"),
    ],
)
def test_a_missing_condition_or_view_is_named(
    conditions: tuple[str, ...], views: tuple[str, ...], says: str
) -> None:
    rows = [(p, c, v) for p in PEOPLE for c in conditions for v in views]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    with pytest.raises(GaitstreamError, match=says):
        find_protocol("casia-b").score(data, "euc", None)


def test_gait3d_takes_its_probes_from_its_file(tmp_path: Path) -> None:
    rows = [(p, c, "s") for p in ("a", "b", "c") for c in ("c1", "c2", "c3")]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    listed = tmp_path / "Gait3D.json"
    listed.write_text(json.dumps({"PROBE_SET": ["a-c1-s", "b-c1-s", "c-c1-s"]}))
    found = find_protocol("gait3d").score(data, "euc", listed)
    assert found.figures["rank-1"] == 100.0
    assert found.figures["mAP"] == pytest.approx(100.0)
    with pytest.raises(ConfigError, match="give it with --probes"):
        find_protocol("gait3d").score(data, "euc", None)


def test_a_listed_probe_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Figures of fewer probes would pass for those of the protocol; people may be left out as a whole."""
    rows = [(p, c, "s") for p in ("a", "b") for c in ("c1", "c2", "c3")]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    listed = tmp_path / "Gait3D.json"
    listed.write_text(json.dumps({"PROBE_SET": ["a-c1-s", "b-c1-s", "z-c1-s"]}))
    assert find_protocol("gait3d").score(data, "euc", listed).figures["rank-1"] == 100.0
    listed.write_text(json.dumps({"PROBE_SET": ["a-c1-s", "b-c9-s", "z-c1-s"]}))
    with pytest.raises(ConfigError, match=r"lacks 1 sequences of .*PROBE_SET, such as b-c9-s"):
        find_protocol("gait3d").score(data, "euc", listed)


def test_of_grew_a_probe_whom_the_gallery_lacks_is_not_found() -> None:
    """The published evaluator counts all probes; that of Gait3D leaves these out."""
    ids = ["a", "a", "b", "b", "c"]
    embeddings = np.array([0.0, 0.1, 1.0, 1.1, 0.05])[:, None, None]
    data = Sequences.of(embeddings, ids, ["01", "02", "01", "02", "02"], ["v"] * 5)
    scores = find_protocol("grew").score(data, "euc", None)
    assert scores.figures["rank-1"] == pytest.approx(100 * 2 / 3)
    assert scores.figures["mAP"] == 100.0
    assert scores.cmc is not None
    assert scores.cmc[0] == scores.figures["rank-1"]


def test_ccgr_mini_takes_its_gallery_from_its_file(tmp_path: Path) -> None:
    rows = [(p, c, "v") for p in ("a", "b", "c") for c in ("NM1", "BG1", "CL1")]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    listed = tmp_path / "CCGR-MINI.json"
    listed.write_text(json.dumps({"GALLERY_SET": ["a-NM1-v", "b-NM1-v", "c-CL1-v"]}))
    assert find_protocol("ccgr-mini").score(data, "euc", listed).figures["mAP"] == pytest.approx(100.0)
    with pytest.raises(ConfigError, match=r"GALLERY_SET stands in CCGR-MINI\.json: give it with --probes"):
        find_protocol("ccgr-mini").score(data, "euc", None)


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("gait3d", "give it with --probes"),
        ("ccgr-mini", "give it with --probes"),
        ("grew", "GREW needs the types 02"),
        ("casia-b", "CASIA-B needs the types nm-01"),
        ("ccpg", "CCPG needs the types"),
    ],
)
def test_what_a_data_set_lacks_is_said_before_anything_is_embedded(
    bundle: Path, tmp_path: Path, protocol: str, says: str
) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1)})
    options = EvaluationOptions(bundle=bundle, data=data, protocol=protocol, out=tmp_path / "out")
    with pytest.raises(GaitstreamError, match=says):
        evaluate(options)
    assert not (tmp_path / "out").exists()


def test_a_view_without_probes_is_left_out() -> None:
    """Nobody was recorded in CL from one side; the other conditions keep it."""
    rows = [(p, c, v) for p in PEOPLE for c in CONDITIONS for v in ("000", "018", "090")]
    rows = [row for row in rows if row[1:] != ("cl-01", "018")]
    data = embeddings([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    figures = find_protocol("casia-b-cross").score(data, "euc", None).figures
    assert figures == pytest.approx(dict.fromkeys(figures, 100.0))
    assert "CL rank-1" in figures


def with_views(people: int, views: int) -> Sequences:
    """Embeddings that differ more from view to view, the further the views are apart."""
    rng = np.random.default_rng(1)
    rows = [(p, v) for p in range(people) for v in range(views)]
    centre = rng.normal(size=(people, 1, 8))
    found = [centre[p] + 0.3 * rng.normal(size=(1, 8)) + 0.5 * v for p, v in rows]
    return Sequences.of(
        found, [f"{p:03d}" for p, _ in rows], ["01"] * len(rows), [f"{v:03d}" for _, v in rows]
    )


def test_verification_takes_some_of_every_view(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_views(120, 4)
    whole = _verification(data, "euc")
    monkeypatch.setattr(evaluation, "MOST_SEQUENCES", 240)
    turned = Sequences(data.embeddings[::-1], data.ids[::-1], data.types[::-1], data.views[::-1])
    some, again = _verification(data, "euc"), _verification(turned, "euc")
    assert whole is not None
    assert some is not None
    assert again is not None
    assert some.eer == pytest.approx(whole.eer, abs=0.03)
    assert some.genuine == pytest.approx(whole.genuine / 4, rel=0.1)
    assert again.genuine == some.genuine
    assert again.eer == pytest.approx(some.eer)


def test_distances_of_one_pair_of_views_are_held_at_a_time() -> None:
    rows = [(p, c, v) for p in range(40) for c in ("00", "01") for v in range(14)]
    data = embeddings([f"{r[0]:03d}" for r in rows], [r[1] for r in rows], [f"{r[2]:03d}" for r in rows])
    tracemalloc.start()
    found = find_protocol("ou-mvlp").score(data, "euc", None)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.figures["NM rank-1"] == pytest.approx(100.0)
    assert most < 8 * (40 * 14) ** 2 / 2


def test_an_input_of_another_type_is_named(bundle: Path) -> None:
    manifest = msgspec.structs.replace(Bundle.open(bundle).manifest, input=CROP)
    with pytest.raises(SourceError, match=r"arrays of shape \[2, 3, 256, 128\] \(float32\)"):
        inputs_of(manifest, [np.zeros((2, 3, 256, 128), np.float32)])


@pytest.mark.parametrize("held", ['"000"', "[]", "3", '{"001": 1}'])
def test_a_partition_of_another_form_is_said_so(tmp_path: Path, held: str) -> None:
    path = tmp_path / "part.json"
    path.write_text(f'{{"TEST_SET": {held}}}')
    with pytest.raises(SourceError, match="expected is a list of identities"):
        read_partition(path)


def test_identities_that_the_data_set_lacks_are_named(tmp_path: Path) -> None:
    silhouettes_of(tmp_path, {"001/nm-01/000": walk(1)})
    with pytest.raises(SourceError, match="lacks 1 identities of the test set, such as zzz"):
        scan(tmp_path, ("zzz",))


def test_a_site_that_is_not_there_is_named(bundle: Path, tmp_path: Path) -> None:
    data = silhouettes_of(tmp_path / "a", {"a/01/c": walk(1)})
    options = EvaluationOptions(
        bundle=bundle,
        data=data,
        protocol="grew",
        out=tmp_path / "out",
        runtime="openvino",
        site=Path("/no.yaml"),
    )
    with pytest.raises(ConfigError, match=r"--cameras /no\.yaml cannot be read"):
        collect(options, scan(data), lambda _done, _total: None, None)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_proof_is_said_so(bundle: Path, tmp_path: Path, text: str) -> None:
    copied = tmp_path / "bundle"
    shutil.copytree(bundle, copied)
    (copied / "parity.json").write_text(text)
    with pytest.raises(BundleError, match=r"parity\.json is damaged"):
        Bundle.open(copied).parity()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/should-not-exist",)


def test_a_pickle_that_would_run_something_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SourceError, match=r"evil\.pkl.*(not needed for an array|no array needs)"):
        read_pickle(path)


class Forged:
    """Bytes that pass for addresses of objects: numpy follows them where it is let."""

    def __reduce__(self) -> tuple[object, ...]:
        return np.ndarray, ((2, 17, 3), ForgedType(), b"A" * (2 * 17 * 3 * 8))


class ForgedType:
    """A field that holds an object, and flags that say there is none."""

    def __reduce__(self) -> tuple[object, ...]:
        state: Any = np.dtype([("a", "O")]).__reduce__()[2]
        return np.dtype, ("V8", False, True), (*state[:-1], 0)


class Huge:
    """An array without content, larger than the file."""

    def __reduce__(self) -> tuple[object, ...]:
        return np.ndarray, ((1 << 10, 64, 64), np.dtype("u1"))


@pytest.mark.parametrize("value", [Forged(), Huge(), np.zeros((2, 17, 3), [("a", "f4")])])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_says_nothing_to_numpy(tmp_path: Path, value: object, protocol: int) -> None:
    path = tmp_path / "forged.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(SourceError, match=re.escape(str(path))):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_however_they_were_stored(tmp_path: Path, protocol: int) -> None:
    plain = np.random.default_rng(1).random((3, 4, 5, 6))
    path = tmp_path / "stored.pkl"
    for value in (
        plain, plain[::2], np.asfortranarray(plain), np.moveaxis(plain, 3, 1), plain.astype(">f4"),
        plain > 0.5, list(plain), (plain[0],) * 2, [np.float64(1), np.float64(2)], plain.tolist(),
    ):  # fmt: skip
        path.write_bytes(pickle.dumps(value, protocol))
        found, wanted = read_pickle(path), np.asarray(value)
        assert found.dtype == wanted.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"nonsense", pickle.dumps({"a": 1})])
def test_a_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frames.pkl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"frames\.pkl"):
        read_pickle(path)


def test_a_folder_of_another_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no data set"):
        scan(tmp_path / "none")
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(SourceError, match="expected id/type/view"):
        scan(tmp_path)


def test_what_systems_keep_beside_files_is_no_sequence(tmp_path: Path) -> None:
    folder = tmp_path / "1" / "nm-01"
    (folder / "018").mkdir(parents=True)
    for name in ("000.mp4", "._000.mp4", "018/walk.mp4", "018/._walk.mp4"):
        (folder / name).touch()
    assert [[path.name for path in one.files] for one in scan(tmp_path)] == [["000.mp4"], ["walk.mp4"]]


@pytest.mark.parametrize("link", ["2", "1/nm-02", "1/nm-01/018.mp4", "1/nm-01/018/walk.mp4"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, link: str) -> None:
    (tmp_path / "1" / "nm-01").mkdir(parents=True)
    (tmp_path / "1" / "nm-01" / "000.mp4").touch()
    path = tmp_path / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/not/mounted")
    with pytest.raises(SourceError, match=f"{re.escape(str(path))} is a link to /not/mounted"):
        scan(tmp_path)


def test_two_videos_of_one_sequence_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "1" / "nm-01"
    folder.mkdir(parents=True)
    for name in ("000.mp4", "000.mkv"):
        (folder / name).touch()
    with pytest.raises(SourceError, match=r"000\.mkv and .*000\.mp4 are both the sequence 1/nm-01/000"):
        scan(tmp_path)


def test_files_of_a_sequence_have_one_length(tmp_path: Path) -> None:
    folder = tmp_path / "1" / "nm-01" / "000"
    folder.mkdir(parents=True)
    for number, frames in enumerate((4, 5)):
        (folder / f"{number}.pkl").write_bytes(pickle.dumps(np.zeros((frames, 64, 64), np.uint8)))
    with pytest.raises(SourceError, match=r"\[4, 5\] frames"):
        load(scan(tmp_path)[0])


def test_of_two_files_that_could_be_the_silhouettes_none_is_taken_unasked(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SUSTech1K keeps silhouettes of LiDAR and camera side by side, and clouds of points."""
    for condition, seed in (("01", 1), ("02", 2)):
        folder = tmp_path / "data" / "a" / condition / "000"
        folder.mkdir(parents=True)
        for name, array in (
            ("02-000-LiDAR-PCDs_sils.pkl", walk(seed)),
            ("06-000-Camera-Sils_aligned.pkl", walk(seed + 10)),
        ):
            (folder / name).write_bytes(pickle.dumps(array))
    with pytest.raises(SourceError, match=r"a/01/000: 02-\S+ and 06-\S+ could both be .*--files '06-"):
        collected(bundle, tmp_path / "data", tmp_path / "out")
    for condition in ("01", "02"):
        (tmp_path / "data" / "a" / condition / "000" / "00-000-PCDs.pkl").write_bytes(pickle.dumps([1, 2]))
    out = tmp_path / "out"
    command = ["evaluate", str(bundle), "--data", str(tmp_path / "data"), "--protocol", "grew"]
    command += ["--runtime", "openvino", "--precision", "fp32", "--out", str(out)]
    assert main([*command, "--files", "*Sils_aligned*"]) == 0
    stored = sorted((out / "embeddings").rglob("*.npy"))
    alone = silhouettes_of(tmp_path / "b", {"a/01/c": walk(11), "a/02/c": walk(12)})
    np.testing.assert_allclose(
        np.stack([np.load(one) for one in stored]), collected(bundle, alone, tmp_path / "c"), atol=1e-5
    )
    assert json.loads((out / "evaluation.json").read_text())["files"] == ["*Sils_aligned*"]
    assert "*Sils_aligned*" in (out / "evaluation.html").read_text()
    capsys.readouterr()
    assert main([*command, "--files", "*Sils_raw*"]) == 1
    assert re.search(r"no pickle that is called \*Sils_raw\*, but 00-000-PCDs", capsys.readouterr().err)


def test_what_is_advised_of_two_files_leaves_the_other_inputs_in() -> None:
    manifest = Manifest(
        model="skeletongaitpp",
        version="1",
        input=InputContract(kind=InputKind.SKELETON_MAP, height=64, width=44, channels=2, crop_rule="pose"),
        more_inputs=(
            InputContract(kind=InputKind.SILHOUETTE, height=64, width=44, channels=1, crop_rule="segment"),
        ),
        clip=ClipContract(),
        embedding=EmbeddingContract(parts=1, dim=1, tap=""),
        graphs={},
        licence="",
        source={},
    )
    maps = np.zeros((3, 2, 64, 64), np.uint8)
    arrays = [maps, walk(1), walk(2), np.zeros((3, 5), np.float32)]
    names = ["0_heatmap.pkl", "1_sil.pkl", "2_sil.pkl", "3_points.pkl"]
    with pytest.raises(SourceError, match=r"1_sil.pkl and 2_sil.pkl .*--files '0_heatmap.pkl,2_sil.pkl'"):
        inputs_of(manifest, arrays, names=names)


def test_published_figures_are_of_known_families() -> None:
    for protocol in PROTOCOLS:
        for family in published(protocol).figures:
            assert find_family(family).name == family


def test_names_are_text_in_the_page() -> None:
    result = Result(
        protocol="grew",
        title="GREW",
        model="<b>",
        figures={"rank-1": 60.0},
        published=None,
        published_source="",
        eer=None,
        fingerprint="f",
        checkpoint={},
        runtime="openvino",
        precision="fp32",
        metric="euc",
        data="d",
        sequences=1,
        identities=1,
        partition=None,
        frames=None,
        version="0",
        finished_utc="",
        cmc=[50.0, 100.0],
    )
    page = render(result)
    assert "&lt;b&gt;" in page
    assert "CMC curve" in page

"""`gaitstream compare`: a published size beside its PyTorch module."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from rich.console import Console

from gaitstream.bench import compare_models, recognizer
from gaitstream.bench.result import Row
from gaitstream.cli import main
from gaitstream.cli.commands import evaluating
from gaitstream.cli.commands.tables import table_console
from gaitstream.evaluate.evaluation import Result
from gaitstream.models.bundle import Bundle, write_manifest
from tests.pipeline.tiny import tiny_bundle

pytest.importorskip("torch", reason="random weights are made with the extra 'export'")


def here(function: Callable[..., list[Row]], arguments: dict[str, Any]) -> list[Row]:
    """A contender without a process of its own."""
    return function(**arguments)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short turn."""
    monkeypatch.setattr(compare_models, "run_contender", here)
    monkeypatch.setattr(compare_models, "TURNS", 1)
    monkeypatch.setattr(recognizer, "SETTLING_S", 0.0)
    monkeypatch.setattr(recognizer, "MEASURED_S", 0.0)


@pytest.mark.usefixtures("quick")
def test_a_published_size_stands_beside_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--random", "gaittr", "--precision", "fp32", "--markdown"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert float(cells["ms a tracklet"]) > 0
    assert float(cells["PyTorch here"]) > 0
    assert cells["faster"].endswith(" x")
    assert float(cells["published code, elsewhere"]) > 0


@pytest.mark.usefixtures("quick")
def test_several_pictures_are_channels_of_one_to_a_module(family_bundle: Callable[[str], Bundle]) -> None:
    bundle = family_bundle("skeletongaitpp").root
    (row,) = recognizer.measure_module(str(bundle), 1, "skeletongaitpp")
    assert row.figures["tracklet"].median > 0


def test_eight_bits_of_a_size_whose_pictures_only_a_data_set_has(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the extra [int8]")
    bundle = Bundle.open(recognizer.make_bundle("multigaitpp", tmp_path / "bundle"))
    assert "int8" in bundle.manifest.graphs


def test_bundles_of_one_name_are_told_apart(tmp_path: Path) -> None:
    roots = [tmp_path / "v1" / "bundle", tmp_path / "v2" / "bundle", tmp_path / "other"]
    assert compare_models.names_of(roots) == ["v1/bundle", "v2/bundle", "other"]
    assert compare_models.names_of([roots[0], roots[0]]) == ["bundle", "bundle"]
    assert compare_models.names_of([Path()]) == [Path().resolve().name]


@pytest.mark.parametrize(("name", "said"), [("nope", "'nope'"), ("gaitpart:nope", "no variant 'nope'")])
def test_a_size_that_is_not_there_is_said_before_any_is_measured(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--random", "gaitset", name]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "gaitset" not in shown.out


@pytest.mark.usefixtures("quick")
def test_what_was_measured_is_shown_when_another_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tiny_bundle(tmp_path / "good"), tiny_bundle(tmp_path / "bad", seed=1)
    head = onnx.load(bad.graph("head", "fp32"))
    head.graph.node[0].op_type = "Unheard"
    onnx.save(head, bad.graph("head", "fp32"))
    write_manifest(bad.manifest, bad.root)
    command = ["compare", str(good.root), str(bad.root), "--runtime", "onnxruntime", "--precision", "fp32"]
    assert main([*command, "--markdown"]) == 1
    shown = capsys.readouterr()
    assert "Unheard" in shown.err
    assert "| good | gaitheat |" in shown.out


def test_what_cannot_be_compared_is_said_before_anything_is_measured(
    gaitheat_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(gaitheat_bundle.root), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path} is not a model bundle" in said
    assert "ms a tracklet" not in said
    result = Result(
        protocol="ccpg", title="CCPG", model="gaitset", figures={"rank-1": 50.0}, published=None,
        published_source="", eer=None, fingerprint="0" * 64, checkpoint={}, runtime="openvino",
        precision="fp32", metric="", data="", sequences=2, identities=2, partition=None, frames=None,
        version="1", finished_utc="",
    )  # fmt: skip
    scores = tmp_path / "evaluation.json"
    scores.write_bytes(msgspec.json.encode(result))
    assert main(["compare", str(gaitheat_bundle.root), "--scores", str(scores)]) == 2
    said = capsys.readouterr().err
    assert "the evaluation of gaitset on CCPG is of none of these bundles" in said
    assert gaitheat_bundle.fingerprint[:12] in said


def evaluated(bundle: Bundle, path: Path, title: str, figures: dict[str, float]) -> str:
    """A result of this bundle, written to a file."""
    result = Result(
        protocol="ccpg", title=title, model="gaitheat", figures=figures, published=None,
        published_source="", eer=None, fingerprint=bundle.fingerprint, checkpoint={}, runtime="openvino",
        precision="fp32", metric="", data="", sequences=2, identities=2, partition=None, frames=None,
        version="1", finished_utc="",
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(result))
    return str(path)


def test_scores_that_cannot_all_be_shown_are_said_before_anything_is_measured(
    gaitheat_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(gaitheat_bundle.root), "--scores"]
    none = evaluated(gaitheat_bundle, tmp_path / "none.json", "CCPG", {})
    assert main([*command, none]) == 2
    assert f"{none} is no result of 'gaitstream evaluate': it has no figures" in capsys.readouterr().err
    both = [
        evaluated(gaitheat_bundle, tmp_path / f"{title}.json", title, {"rank-1": 50.0})
        for title in ("CCPG", "GREW")
    ]
    assert main([*command, both[0], "--scores", both[1]]) == 2
    said = capsys.readouterr().err
    assert "on CCPG and on GREW are of one bundle" in said
    assert "ms a tracklet" not in said


def test_a_table_in_a_pipe_or_a_narrow_terminal_cuts_nothing_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = compare_models.ComparedModel(
        name="v1/bundle", model="skeletongaitpp", size_mib=123.4, gflop=12.34, tracklet_ms=1234.0,
        next_ms=567.0, last_ms=38.0, torch_ms=2345.0, published_ms=900.0, runtime="onnxruntime",
        precision="fp32", parity=2.8e-7, accuracy=75.0, protocol="casia-b",
    )  # fmt: skip
    table_console().print(evaluating._table([row]))
    piped = capsys.readouterr().out
    assert "…" not in piped
    assert "75.0 % (casia-b)" in piped
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(evaluating._table([row]))
    assert "…" not in console.export_text()


def test_where_there_is_no_proc_there_is_no_peak_of_memory() -> None:
    """As on macOS: it ended the comparison."""
    script = "from gaitstream.bench.measure import peak_memory; print(peak_memory())"
    hidden = "mount -t tmpfs tmpfs /proc && "
    for hide, said in (("", "{'memory': Figure("), (hidden, "{}\n")):
        command = ["unshare", "-m", "sh", "-c", f'{hide}exec "$0" -c "$1"', sys.executable, script]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            if subprocess.run([*command[:4], f"{hide}true"], capture_output=True).returncode:
                pytest.skip("hiding /proc needs root and namespaces of mounts")
            raise
        assert done.stdout.startswith(said)

"""`gaitstream models`: from a server and from a folder into a configuration."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.zoo import fetched
from gaitstream.zoo.catalogue import catalogue, find_model
from tests.zoo.misbehaving import Site, serve


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def detector() -> bytes:
    """A real detector's graph; by its sum it is none of the catalogue's."""
    return (zoo.demo_folder() / "detector.onnx").read_bytes()


@pytest.fixture
def site(detector: bytes) -> Iterator[Site]:
    with serve(detector) as site:
        yield site


def cams(folder: Path) -> str:
    path = folder / "cams.yaml"
    path.write_text(
        "cameras: [{id: a, url: 'synth://plaza?camera=1'}]\nmodels: {detector: yolox_m, pose: demo}\n"
    )
    return str(path)


def test_a_name_works_once_it_was_fetched(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "check", cams(tmp_path)]) == 2
    assert "detector 'yolox_m' is not on this machine yet: gaitstream models get yolox_m" in _all(capsys)
    site.breaks_after = [1000]
    assert main(["models", "get", "yolox_m", "--url", site.url, "--no-measure"]) == 0
    said = capsys.readouterr().out
    assert "compared with nothing" in said
    assert "models: {detector: yolox_m}" in said
    assert site.asked == ["", "bytes=1000-"]
    assert main(["config", "check", cams(tmp_path)]) == 0
    assert main(["models", "get", "yolox_m", "--url", site.url]) == 0
    assert "is here already" in capsys.readouterr().out
    assert len(site.asked) == 2


def test_it_is_said_at_once_where_a_model_is_fetched_from_and_what_is_tried_again(tmp_path: Path) -> None:
    """A server that takes the connection and never answers: what is said is read while it is waited for."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.onnx"
        command = [
            "-m",
            "gaitstream",
            "models",
            "get",
            "yolox_m",
            "--no-measure",
            "--url",
            f"{url}?key=secret",
        ]
        with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True) as getting:
            try:
                assert getting.stderr is not None
                assert getting.stderr.readline() == f"yolox_m: fetching {url}\n"
                silent.accept()[0].close()
                said = getting.stderr.readline()
                assert re.fullmatch(r"yolox_m: broke off \(.+\): trying again in 1 s\n", said)
            finally:
                getting.kill()


def test_the_speed_is_measured_and_kept(
    detector: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo's graph under another's name has another layout: the fault is said, and the file is there."""
    pose = tmp_path / "pose.onnx"
    pose.write_bytes((zoo.demo_folder() / "pose.onnx").read_bytes())
    get = ["models", "get", "vitpose_s", "--from", str(pose), "--sha256", fetched.sum_of(pose)]
    assert main(get) == 0
    assert "ms a crop (" in capsys.readouterr().out
    receipt = fetched.receipt_of(find_model("vitpose_s"))
    assert receipt is not None
    assert receipt.speed is not None
    assert receipt.speed.milliseconds > 0
    assert main(["models", "list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in listed] == [one.name for one in catalogue()]
    (found,) = (one for one in listed if one["fetched"])
    assert found["fetched"]["speed"]["milliseconds"] == receipt.speed.milliseconds
    assert main(["models", "list"]) == 0
    assert f"{receipt.speed.milliseconds:g} ms/crop" in capsys.readouterr().out


def test_what_does_not_run_here_is_fetched_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    get = ["models", "get", "pphumanseg", "--from", str(broken), "--sha256", fetched.sum_of(broken)]
    assert main(get) == 0
    assert "its speed was not measured" in capsys.readouterr().err


def test_wrong_bytes_and_refused_licences_end_with_an_error(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "get", "yolox_nano", "--url", site.url]) == 1
    assert "bytes where 3659407 or 3678356 are expected" in capsys.readouterr().err
    assert main(["models", "get", "biggait_ccpg", "--url", site.url]) == 2
    assert "academic use only" in capsys.readouterr().err
    assert main(["models", "get", "yolox_nan"]) == 2
    assert "did you mean 'yolox_nano'" in capsys.readouterr().err


def test_who_says_nothing_at_the_terminal_has_not_agreed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", nothing)
    assert main(["models", "get", "biggait_ccpg"]) == 2
    assert "asks for your consent" in capsys.readouterr().err


def test_verify_finds_what_was_changed(site: Site, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "get", "yolox_m", "--url", site.url, "--no-measure"]) == 0
    assert main(["models", "verify"]) == 0
    assert "ok      yolox_m" in capsys.readouterr().out
    with (cache / "yolox_m" / "yolox_m.onnx").open("ab") as file:
        file.write(b"x")
    assert main(["models", "verify"]) == 1
    assert "FAILED  yolox_m" in capsys.readouterr().out
    assert main(["models", "verify", "yolox_s"]) == 1
    assert "was not fetched: gaitstream models get yolox_s" in capsys.readouterr().out


def test_a_model_whose_file_is_gone_is_fetched_again(
    site: Site, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["models", "get", "yolox_m", "--url", site.url, "--no-measure"]
    assert main(order) == 0
    (cache / "yolox_m" / "yolox_m.onnx").unlink()
    assert main(order) == 0
    assert "is here already" not in capsys.readouterr().out
    assert main(["models", "verify", "yolox_m"]) == 0
    assert main(order) == 0
    assert "yolox_m is here already" in capsys.readouterr().out
    (cache / "yolox_m" / "yolox_m.onnx").write_bytes(b"another")
    assert main(order) == 1
    assert "gaitstream models get yolox_m --force" in capsys.readouterr().err


@pytest.mark.parametrize("held", [None, "layout: [", '{"graph": "yolox_m.onnx", "layout": "ssd"}'])
def test_a_manifest_that_is_gone_or_another_is_said_and_written_anew(
    held: str | None, site: Site, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["models", "get", "yolox_m", "--url", site.url, "--no-measure"])
    manifest = cache / "yolox_m" / "yolox_m.yaml"
    right = manifest.read_bytes()
    manifest.unlink()
    if held is not None:
        manifest.write_text(held)
    capsys.readouterr()
    for command in (["models", "verify"], ["config", "check", cams(tmp_path)]):
        assert main(command) > 0
        said = _all(capsys)
        assert str(manifest) in said
        assert "gaitstream models get yolox_m writes it anew" in said
    assert main(["models", "get", "yolox_m"]) == 0
    assert manifest.read_bytes() == right
    assert len(site.asked) == 1  # the file itself was right
    assert main(["models", "verify"]) == 0
    assert main(["config", "check", cams(tmp_path)]) == 0


def test_a_damaged_receipt_is_said_and_repaired_by_the_command_that_it_names(
    site: Site, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["models", "get", "yolox_m", "--url", site.url, "--no-measure"]
    assert main(order) == 0
    (cache / "yolox_m" / "receipt.json").write_text("{")
    assert main(["models", "verify"]) == 1
    assert "gaitstream models get yolox_m --force" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert "! damaged: 'gaitstream models verify'" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    assert "cannot be read" in capsys.readouterr().out
    assert main([*order, "--force"]) == 0
    assert main(["models", "verify"]) == 0


@pytest.mark.parametrize("action", ["get", "info", "verify"])
def test_a_packaged_name_of_the_list_is_said_to_be_here(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", action, "demo"]) == 2
    said = capsys.readouterr().err
    assert "'demo' is packaged, as detector, pose, segmenter, recognizer (gaitheat)" in said
    assert "it is here and needs no fetching" in said


def test_info_says_licence_source_and_what_comes_next(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "biggait_ccpg"]) == 0
    said = capsys.readouterr().out
    assert "academic use only" in said
    assert "https://huggingface.co/" in said
    assert main(["models", "get", "biggait_ccpg", "--accept", "--url", site.url, "--sha256",
                 find_model("biggait_ccpg").files[0].sha256]) == 1  # fmt: skip
    assert "nothing was kept" in capsys.readouterr().err
    assert main(["models", "info", "biggait_ccpg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fetched"] is None


def test_the_real_detector_from_a_folder(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gaitstream.models.detector import find_detector

    for name in ("yolox_nano", "simplepose_nano"):
        assert (
            main(["models", "get", name, "--from", str(shared / "models"), "--accept", "--no-measure"]) == 0
        )
    assert "summed here" in capsys.readouterr().out
    graph, contract = find_detector("yolox_nano")
    assert graph.name == "yolox_nano.onnx"
    assert contract is not None
    assert (contract.layout, contract.colour, contract.scale) == ("yolox", "bgr", 1.0)


def _all(capsys: pytest.CaptureFixture[str]) -> str:
    return "".join(capsys.readouterr())

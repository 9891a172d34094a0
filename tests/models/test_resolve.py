"""One resolver: what is a path, what a name, and what lies beside what."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream import zoo
from gaitstream.errors import ConfigError
from gaitstream.models.pose import PoseContract
from gaitstream.models.resolve import find_network, is_path, resolve


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("demo", False),
        ("mine", False),
        ("./mine", True),
        ("bundles/biggait", True),
        ("x.onnx", True),
        ("x.json", True),
        ("x.yaml", True),
        ("x.yml", True),
        (Path("mine"), True),
    ],
)
def test_paths_and_names(value: str | Path, path: bool) -> None:
    assert is_path(value) == path


def test_names_come_from_the_zoo_and_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    assert resolve("demo", "pose") == zoo.find("demo", "pose")
    assert resolve("demo", "recognizer", family="gaitheat") == zoo.find("demo", "recognizer")
    model = tmp_path / "mine.onnx"
    model.touch()
    assert resolve(str(model), "detector") == resolve(model, "segmenter") == model
    assert resolve(tmp_path, "recognizer") == tmp_path


def test_what_is_missing_is_said_with_what_would_do() -> None:
    with pytest.raises(ConfigError, match=r"pose other\.yaml does not exist; give an ONNX file .*zoo: demo$"):
        resolve("other.yaml", "pose")
    with pytest.raises(ConfigError, match=r"biggait b/x does not exist; give a bundle's directory"):
        resolve("b/x", "recognizer", family="biggait")


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_network_is_named_by_its_graph_or_by_its_manifest(suffix: str, tmp_path: Path) -> None:
    graph, manifest = tmp_path / "net.onnx", tmp_path / f"net{suffix}"
    graph.touch()
    assert find_network(graph, "pose", PoseContract) == (graph, None)
    manifest.write_text('{"graph": "net.onnx", "scale": 1}')
    expected = (graph, PoseContract(graph="net.onnx", scale=1.0))
    assert find_network(graph, "pose", PoseContract) == expected
    assert find_network(str(manifest), "pose", PoseContract) == expected
    manifest.write_text('{"graph": "gone.onnx"}')
    with pytest.raises(ConfigError, match=r"names the graph 'gone\.onnx', which is not beside it"):
        find_network(manifest, "pose", PoseContract)
    manifest.write_text('{"graph": "net.onnx", "colors": "rgb"}')
    with pytest.raises(ConfigError, match=r"is not a pose manifest .*colors.*: it takes graph, colour"):
        find_network(manifest, "pose", PoseContract)

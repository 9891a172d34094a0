"""docs/gpu-checklist.md lists what the code calls in DeepStream."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from gaitstream.deepstream import api, cameras, copying
from gaitstream.deepstream.graph import build_graph

PAGE = Path(__file__).parents[2] / "docs" / "gpu-checklist.md"
OWN = {"label", "class_id", "tracker_confidence"}
"""Names that are typed and not used."""


def called(protocol: type[Any]) -> set[str]:
    """The names a protocol declares."""
    own = {name for name in vars(protocol) if not name.startswith("_") or name == "__dlpack__"}
    return own | set(inspect.get_annotations(protocol))


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_every_name_of_pyservicemaker_is_listed_with_a_source(page: str) -> None:
    rows = [row for row in page.splitlines() if row.startswith("| ") and row.count("|") == 4]
    assert all(row.split("|")[3].strip() for row in rows)
    words = set(re.findall(r"\w+", " ".join(row.split("|")[1] for row in rows)))
    for protocol in api.PROTOCOLS.values():
        missing = (
            called(protocol) - words - OWN - {"set", "get", "left", "top", "width", "height", "PipelineState"}
        )
        assert not missing, f"{protocol.__name__}: {missing}"


def test_every_call_of_the_cuda_runtime_is_listed(page: str) -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(copying)))
        if isinstance(node, ast.Attribute) and node.attr.startswith("cuda")
    }
    assert used
    assert all(f"`{name}`" in page for name in used)


def test_rest_and_the_view_are_listed(page: str, site: Any, plan: Any) -> None:
    assert cameras.ADD in page
    graph = build_graph(site(), plan, Path("/out"), view=True)
    view = [node.kind for node in graph.nodes][-4:]
    assert all(f"`{kind}`" in page for kind in view)
    encoder = graph.node("encoder").properties
    assert all(f"`{name}`" in page for name in encoder)


def test_the_files_it_names_are_there(page: str) -> None:
    for name in re.findall(r"`(tests/[\w/.]+|scripts/[\w/.-]+)", page):
        assert (PAGE.parents[1] / name).exists(), name

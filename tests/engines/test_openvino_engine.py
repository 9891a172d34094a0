"""Graphs compiled for one shape give what the graph for any shape gives."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as op
import pytest

from gaitstream.engines import Engine, open_engine, openvino
from gaitstream.engines.base import BuildRequest
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.fixed_shapes import Shapes
from gaitstream.engines.openvino_engine import OpenVinoEngine, powers_of_two
from gaitstream.engines.openvino_graphs import compare_neighbours
from gaitstream.engines.proof import Proof
from tests.engines.small_graphs import small_graph, small_reference

NUMBERS = np.random.default_rng(5)


def images(rows: int) -> np.ndarray:
    return NUMBERS.integers(0, 256, (rows, 3, 16, 16), np.uint8)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    graph = small_graph(tmp_path / "small.onnx")
    return open_engine(graph, "openvino", "fp32", cache=EngineCache(tmp_path / "cache"))


def compiled_for(engine: Engine) -> set[int]:
    assert isinstance(engine, OpenVinoEngine)
    return {shapes[0][0] for shapes in engine._fixed._kept}


def test_every_size_gives_the_same_and_few_are_compiled_for(engine: Engine) -> None:
    for rows in (1, 2, 3, 3, 4, 5, 16, 3, 3):
        x = images(rows)
        np.testing.assert_allclose(engine.infer({"images": x})["features"], small_reference(x), atol=1e-5)
    assert compiled_for(engine) == {1, 2, 3, 4, 16}


def test_sizes_take_turns_while_others_are_under_way(engine: Engine) -> None:
    inputs = [images(rows) for rows in (1, 4, 4, 3, 1, 4, 2, 4, 4, 4)]
    pending = [engine.submit({"images": x}) for x in inputs]
    for x, one in zip(inputs, pending, strict=True):
        np.testing.assert_allclose(one.result()["features"], small_reference(x), atol=1e-5)


@pytest.mark.parametrize("rows", [3, 4])
def test_results_go_where_they_are_wanted(engine: Engine, rows: int) -> None:
    whole = np.zeros((2 * rows, 8), np.float32)
    x = images(2 * rows)
    halves = slice(0, rows), slice(rows, 2 * rows)
    pending = [engine.submit_into({"images": x[half]}, {"features": whole[half]}) for half in halves]
    found = [one.result()["features"] for one in pending]
    np.testing.assert_allclose(whole, small_reference(x), atol=1e-5)
    assert all(np.shares_memory(one, whole) for one in found)
    own = engine.infer({"images": x[:rows]})["features"]
    assert not np.shares_memory(own, engine.infer({"images": x[:rows]})["features"])


def test_preparing_compiles_for_what_chunks_gives(engine: Engine) -> None:
    engine.prepare(12)
    assert compiled_for(engine) == {1, 2, 4, 8, 12}
    for rows in range(40):
        chunks = engine.chunks(rows, 12)
        assert [index for chunk in chunks for index in range(rows)[chunk]] == list(range(rows))
        assert {chunk.stop - chunk.start for chunk in chunks} <= {1, 2, 4, 8, 12}


def test_a_number_of_rows_that_always_comes_is_not_cut_up(engine: Engine) -> None:
    for rows in range(1, 30):
        engine.chunks(rows, 32)
    assert len(engine.chunks(30, 32)) == 4
    for _ in range(40):
        chunks = engine.chunks(30, 32)
    assert chunks == [slice(0, 30)]
    x = images(30)
    np.testing.assert_allclose(engine.infer({"images": x})["features"], small_reference(x), atol=1e-5)
    assert compiled_for(engine) == {30}
    assert len(engine.chunks(29, 32)) == 4


def test_a_graph_that_was_replaced_is_not_compiled_again(tmp_path: Path) -> None:
    graph = small_graph(tmp_path / "small.onnx")
    engine = open_engine(graph, "openvino", "fp32", cache=EngineCache(tmp_path / "cache"))
    small_graph(graph, seed=1)
    x = images(4)
    np.testing.assert_allclose(engine.infer({"images": x})["features"], small_reference(x), atol=1e-5)
    graph.unlink()
    np.testing.assert_allclose(engine.infer({"images": x[:2]})["features"], small_reference(x[:2]), atol=1e-5)
    assert compiled_for(engine) == set()


def test_powers_of_two_cover_a_range_the_longest_first() -> None:
    assert [one.stop - one.start for one in powers_of_two(3, 3 + 13)] == [8, 4, 1]
    assert powers_of_two(4, 4) == []


def test_a_graph_of_a_fixed_batch_and_a_large_one_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EngineCache(tmp_path / "cache")
    fixed = open_engine(small_graph(tmp_path / "two.onnx", batch=2), "openvino", "fp32", cache=cache)
    assert fixed.chunks(3, 2) == [slice(0, 2), slice(2, 3)]
    monkeypatch.setattr("gaitstream.engines.openvino.MOST_BYTES", 100)
    large = open_engine(small_graph(tmp_path / "large.onnx"), "openvino", "fp32", cache=cache)
    large.prepare(4)
    large.infer({"images": images(4)})
    assert compiled_for(fixed) == compiled_for(large) == set()
    assert large.chunks(7, 4) == [slice(0, 4), slice(4, 7)]


def grouped(keep: bool, axis: int, groups: list[int]) -> ov.Model:
    """The maximum over groups of a convolution's rows."""
    x = op.parameter([-1, 3, 8, 8], np.float32, name="x")
    weight = NUMBERS.normal(size=(4, 3, 3, 3)).astype(np.float32)
    maps = op.convolution(x, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([op.reduce_max(op.reshape(maps, groups, False), [axis], keep)], [x], "grouped")


@pytest.mark.parametrize(
    ("model", "rewritten"),
    [
        (grouped(False, 1, [-1, 3, 4, 8, 8]), True),
        (grouped(True, 1, [-1, 3, 4, 8, 8]), False),
        (grouped(False, 2, [-1, 3, 4, 8, 8]), False),
        (grouped(False, 1, [-1, 3, 8, 4, 8]), False),
        (grouped(False, 1, [-1, 4, 64]), False),
    ],
)
def test_the_maximum_over_neighbours_is_the_same_in_slices(model: ov.Model, rewritten: bool) -> None:
    x = NUMBERS.normal(size=(12, 3, 8, 8)).astype(np.float32)
    core = ov.Core()
    wanted = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]
    compare_neighbours(model)
    kinds = {node.get_type_name() for node in model.get_ops()}
    assert ("Maximum" in kinds) is rewritten
    assert ("ReduceMax" in kinds) is not rewritten
    found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_what_was_compiled_for_a_size_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start reads it; other sizes than powers of two may be ever more, and are not kept."""
    graph, cache = small_graph(tmp_path / "small.onnx"), EngineCache(tmp_path / "cache")
    x, odd = images(4), images(3)

    def answer() -> np.ndarray:
        with closing(open_engine(graph, "openvino", "fp32", cache=cache)) as engine:
            found = engine.infer({"images": x})["features"].copy()
            for _ in range(4):
                engine.infer({"images": odd})
            assert compiled_for(engine) == {3, 4}
            return found

    first = answer()
    [kept] = (tmp_path / "cache" / "shapes").glob("*/*.engine")
    compiled = count_compiled(monkeypatch)
    np.testing.assert_array_equal(answer(), first)
    assert compiled == [3]
    kept.write_bytes(kept.read_bytes()[:-1])
    np.testing.assert_array_equal(answer(), first)
    assert compiled == [3, 4, 3]
    np.testing.assert_array_equal(answer(), first)
    assert compiled == [3, 4, 3, 3]


def test_a_cache_that_takes_nothing_more_costs_a_compilation_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph, cache = small_graph(tmp_path / "small.onnx"), EngineCache(tmp_path / "cache")
    open_engine(graph, "openvino", "fp32", cache=cache).close()
    (tmp_path / "cache" / "shapes").write_text("no folder")
    with closing(open_engine(graph, "openvino", "fp32", cache=cache)) as engine:
        x = images(4)
        np.testing.assert_allclose(engine.infer({"images": x})["features"], small_reference(x), atol=1e-5)
        assert compiled_for(engine) == {4}
    assert "cannot be written" not in caplog.text


def count_compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes that are compiled for from now on."""
    compiled = []
    before = openvino._compile_fixed

    def counting(request: BuildRequest, shapes: Shapes) -> tuple[ov.CompiledModel, Proof]:
        compiled.append(shapes[0][0])
        return before(request, shapes)

    monkeypatch.setattr(openvino, "_compile_fixed", counting)
    return compiled

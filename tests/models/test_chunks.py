"""Windows that overlap share chunks, and are embedded as if each were computed for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="a model is made with the extra 'export'")

from gaitstream.engines import Engine, open_engine  # noqa: E402
from gaitstream.engines.base import Batch  # noqa: E402
from gaitstream.engines.cache import EngineCache  # noqa: E402
from gaitstream.export.api import ExportOptions, write_bundle  # noqa: E402
from gaitstream.models import chunks  # noqa: E402
from gaitstream.models.bundle import Bundle  # noqa: E402
from gaitstream.models.chunks import ChunkedWindows  # noqa: E402
from gaitstream.models.deepgaitv2.module import DeepGaitV2  # noqa: E402
from gaitstream.models.deepgaitv2.trained import wrap  # noqa: E402
from gaitstream.models.encoders import CLIPS_AT_ONCE, ClipEncoder  # noqa: E402
from gaitstream.models.recognizer import Recognizer, sizes_for  # noqa: E402

STRIDE = 6
Bytes = NDArray[np.uint8]


class Counting(Engine):
    """An engine that notes how many chunks it computes."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.rows = engine, 0
        self.runtime, self.precision, self.device = engine.runtime, engine.precision, engine.device
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def submit(self, feeds):  # type: ignore[no-untyped-def]
        self.rows += len(next(iter(feeds.values())))
        return self.engine.submit(feeds)

    def proof(self):  # type: ignore[no-untyped-def]
        return self.engine.proof()

    def close(self) -> None:
        self.engine.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny pseudo 3-D network, two blocks deep in its last stage, with random weights and norms."""
    torch.manual_seed(5)
    module = DeepGaitV2(channels=(4, 6, 8, 10), depths=(1, 1, 1, 1), dim=6).eval()
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
    root = tmp_path_factory.mktemp("tiny")
    return Bundle(root, write_bundle(wrap(module), root, ExportOptions(precisions=("fp32",))))


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def opened(bundle: Bundle, cache: EngineCache, remembered: int = 64) -> tuple[ClipEncoder, Counting]:
    def engine(role: str) -> Engine:
        return open_engine(bundle.graph(role, "fp32"), "openvino", "fp32", 1, cache=cache)  # type: ignore[arg-type]

    counting = Counting(engine("chunk"))
    shared = ChunkedWindows(counting, engine("head"), STRIDE, remembered)
    return ClipEncoder(bundle.manifest, engine("clip"), shared=shared), counting


def walk(frames: int, seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (frames, 1, 64, 44), np.uint8)


def whole(bundle: Bundle, windows: list[Bytes], cache: EngineCache) -> NDArray[np.float32]:
    model = Recognizer.load(bundle, "openvino", "fp32", 1, cache=cache)
    try:
        return model.embed_windows(windows)
    finally:
        model.close()


@pytest.mark.parametrize("length", [STRIDE, 2 * STRIDE, 3 * STRIDE])
def test_sliding_windows_equal_whole_ones_and_each_chunk_is_computed_once(
    bundle: Bundle, cache: EngineCache, length: int
) -> None:
    encoder, counting = opened(bundle, cache)
    frames = walk(6 * STRIDE, 1)
    windows = [frames[at : at + length] for at in range(0, len(frames) - length + 1, STRIDE)]
    found = np.concatenate([encoder.embed_windows([window]) for window in windows])
    np.testing.assert_allclose(found, whole(bundle, windows, cache), atol=1e-5, rtol=1e-5)
    assert counting.rows == 6
    encoder.close()


def test_walks_that_take_turns_do_not_mix(bundle: Bundle, cache: EngineCache) -> None:
    encoder, counting = opened(bundle, cache)
    walks = [walk(4 * STRIDE, seed) for seed in range(3)]
    order = [(number, at) for at in range(0, 3 * STRIDE, STRIDE) for number in (0, 1, 2)]
    windows = [walks[number][at : at + 2 * STRIDE] for number, at in order]
    np.testing.assert_allclose(
        encoder.embed_windows(windows[:5] + windows[5:]), whole(bundle, windows, cache), atol=1e-5, rtol=1e-5
    )
    assert counting.rows <= 2 * len(windows)
    encoder.close()


def test_a_chunk_after_another_one_than_before_is_computed_anew(bundle: Bundle, cache: EngineCache) -> None:
    """As when a window begins afresh after a gap, or two people's walks share a chunk."""
    encoder, _ = opened(bundle, cache)
    a, b, c = (walk(STRIDE, seed) for seed in (11, 12, 13))
    windows = [np.concatenate(pair) for pair in ((a, c), (b, c), (a, c), (c, b))]
    found = np.concatenate([encoder.embed_windows([window]) for window in windows])
    np.testing.assert_allclose(found, whole(bundle, windows, cache), atol=1e-5, rtol=1e-5)
    encoder.close()


def test_no_more_chunks_are_kept_than_allowed(bundle: Bundle, cache: EngineCache) -> None:
    encoder, counting = opened(bundle, cache, remembered=2)
    walks = [walk(3 * STRIDE, seed) for seed in (21, 22, 23)]
    windows = [one[at : at + 2 * STRIDE] for at in (0, STRIDE) for one in walks]
    found = np.concatenate([encoder.embed_windows([window]) for window in windows])
    np.testing.assert_allclose(found, whole(bundle, windows, cache), atol=1e-5, rtol=1e-5)
    assert encoder.shared is not None
    assert len(encoder.shared._ring) == 2
    assert counting.rows == 2 * len(windows), "nothing was remembered for long enough"
    encoder.close()


def test_windows_of_other_lengths_are_computed_whole(bundle: Bundle, cache: EngineCache) -> None:
    encoder, counting = opened(bundle, cache)
    windows = [walk(frames, frames) for frames in (1, 2, STRIDE + 1, 2 * STRIDE - 1)]
    np.testing.assert_allclose(
        encoder.embed_windows(windows), whole(bundle, windows, cache), atol=1e-6, rtol=1e-5
    )
    assert counting.rows == 0
    encoder.close()


@pytest.mark.parametrize("slow", ["chunks", "windows"])
def test_chunks_are_shared_where_they_take_less_time(
    bundle: Bundle, cache: EngineCache, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest of some runs of each decides, chunks first."""
    times = iter([0.2, 0.1] if slow == "chunks" else [0.1, 0.2])
    monkeypatch.setattr(chunks, "_fastest_s", lambda run: (run(), next(times))[1])
    model = Recognizer.load(bundle, "openvino", "fp32", 1, stride=STRIDE, cache=cache)
    assert isinstance(model.windows, ClipEncoder)
    assert (model.windows.shared is not None) == (slow == "windows")
    window = walk(2 * STRIDE, 3)
    np.testing.assert_allclose(
        model.embed_windows([window]), whole(bundle, [window], cache), atol=1e-5, rtol=1e-5
    )
    model.close()


@pytest.mark.parametrize(("stride", "shares"), [(None, False), (STRIDE - 1, False), (STRIDE, True)])
def test_chunks_shorter_than_the_context_on_both_sides_are_not_shared(
    bundle: Bundle, cache: EngineCache, stride: int | None, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkedWindows, "pays", lambda *_: True)
    model = Recognizer.load(bundle, "openvino", "fp32", 1, stride=stride, cache=cache)
    assert isinstance(model.windows, ClipEncoder)
    assert (model.windows.shared is not None) == shares
    model.close()


def test_graphs_over_windows_are_compiled_for_as_many_as_are_given_at_once() -> None:
    """For 64 windows of 90 frames a device would set aside gigabytes that nothing uses."""
    assert sizes_for("clip") == Batch(1, CLIPS_AT_ONCE, CLIPS_AT_ONCE)
    assert sizes_for("frame") == sizes_for("head") == Batch(1, 16, 64)
    assert sizes_for("clip", Batch(1, 4, 8)) == Batch(1, 4, 8)

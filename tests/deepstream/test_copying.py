"""Features on their way from the GPU: found through DLPack, joined, copied in few calls."""

from __future__ import annotations

import ctypes
import gc
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.deepstream import copying, dlpack
from gaitstream.deepstream.copying import CudaCopier, Transfer, merge
from gaitstream.deepstream.geometry import Rect, Scale
from gaitstream.deepstream.outputs import EncoderOutputs, copy_outputs
from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.errors import EngineError
from tests.deepstream import site
from tests.deepstream.fake import pyservicemaker as fake

SHAPE = (512, 16, 8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
@pytest.mark.parametrize("device", [fake.CUDA, dlpack.CPU, dlpack.CUDA_HOST, dlpack.CUDA_MANAGED])
def test_tensors_are_found_wherever_they_lie(dtype: Any, device: int) -> None:
    array = (np.random.default_rng(1).normal(size=(17, 3)) * 50).astype(dtype)
    found = dlpack.locate(fake.Tensor(array, fake.Batch([]), device), (17, 3), dtype)
    assert found == (array.ctypes.data, array.nbytes, device in (fake.CUDA, dlpack.CUDA_MANAGED))


def test_tensors_that_are_not_as_promised_are_refused() -> None:
    array, batch = np.zeros((4, 6), np.float32), fake.Batch([])
    for tensor, shape, dtype in (
        (fake.Tensor(array[:, ::2], batch, 1), (4, 3), np.float32),
        (fake.Tensor(array, batch, 1), (4, 6), np.float16),
        (fake.Tensor(array, batch, 1), (4, 5), np.float32),
        (fake.Tensor(array, batch, 7), (4, 6), np.float32),
        (fake.Tensor(array.astype(np.complex64), batch, 1), (4, 6), np.float32),
    ):
        with pytest.raises(EngineError):
            dlpack.locate(tensor, shape, dtype)


def test_transfers_are_joined_where_both_sides_go_on() -> None:
    rows = [Transfer(100 + 10 * row, 1000 + 10 * row, 10) for row in (2, 0, 1, 5)]
    assert merge(rows) == [Transfer(100, 1000, 30), Transfer(150, 1050, 10)]
    assert merge([Transfer(0, 1000, 10), Transfer(20, 1010, 10)]) == [
        Transfer(0, 1000, 10),
        Transfer(20, 1010, 10),
    ]
    assert merge([]) == []


def people(count: int, batch: fake.Batch, device: int) -> list[dict[str, fake.Tensor]]:
    """Layers of people as nvinfer leaves them, in batches of 16; values tell who is who."""
    layers = []
    for start in range(0, count, 16):
        size = min(16, count - start)
        ids = np.arange(start, start + size)
        maps = np.broadcast_to(ids[:, None, None, None], (size, *SHAPE)).astype(np.float16)
        joints = np.broadcast_to(ids[:, None, None], (size, 17, 3)).astype(np.float32)
        layers += [
            {
                "gaitheat_feature": fake.Tensor(maps[row], batch, device),
                "gaitheat_keypoints": fake.Tensor(joints[row], batch, device),
            }
            for row in range(size)
        ]
    return layers


def gather(layers: list[dict[str, fake.Tensor]], skip: Callable[[int], bool]) -> tuple[Any, list[int]]:
    outputs = EncoderOutputs(EncoderPlan("gaitheat", Path("/m"), 256, 192, 16, SHAPE, has_joints=True))
    rect = Rect(0.0, 0.0, 192.0, 256.0)
    numbers = [outputs.take(one, rect, Scale(1.0, 1.0)) for who, one in enumerate(layers) if not skip(who)]
    return outputs, numbers


@pytest.mark.parametrize("device", [fake.CUDA, dlpack.CPU])
def test_a_crowd_costs_a_few_copies_and_everybody_keeps_their_own(device: int) -> None:
    """160 people are 320 tensors in 10 batches: two copies for each batch, in one call."""
    layers = people(160, fake.Batch([]), device)
    copier = site.HostCopier()
    outputs, numbers = gather(layers, lambda who: False)
    (block,) = copy_outputs([outputs], copier)
    for who, number in enumerate(numbers):
        row = block.rows[number]
        assert (block.maps[row] == who).all()
        # x of heatmap pixel `who` is in the middle of four crop pixels.
        np.testing.assert_allclose(block.joints[row, :, 0], (who + 0.5) * 4 - 0.5)
        assert (block.joints[row, :, 2] == who).all()
    assert len(copier.calls) == (device == fake.CUDA)
    assert sum(map(len, copier.calls)) <= 20


def test_people_who_are_left_out_cost_a_gap() -> None:
    layers = people(48, fake.Batch([]), fake.CUDA)
    copier = site.HostCopier()
    outputs, numbers = gather(layers, lambda who: who in (3, 20))
    (block,) = copy_outputs([outputs], copier)
    wanted = [who for who in range(48) if who not in (3, 20)]
    assert [int(block.maps[block.rows[number], 0, 0, 0]) for number in numbers] == wanted
    assert len(copier.calls[0]) <= 2 * (3 + 2)
    assert sum(one.size for one in copier.calls[0]) == 46 * (2 * 512 * 16 * 8 + 4 * 17 * 3)


def test_nobody_is_nothing() -> None:
    outputs, _ = gather([], lambda who: False)
    (block,) = copy_outputs([outputs], site.HostCopier())
    assert block.maps.shape == (0, *SHAPE)
    assert block.joints.shape == (0, 0, 3)


# The CUDA runtime, in place of which a library of the same calls is loaded.


@pytest.fixture
def cudart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "libcudart.so"
    source = Path(__file__).parent / "fake" / "cudart.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library))
    monkeypatch.setattr(copying, "_runtime", lambda: loaded)
    return loaded


def test_copies_have_arrived_when_the_call_returns(cudart: ctypes.CDLL) -> None:
    copier = CudaCopier(1)
    source = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.uint8)
    target = copier.allocate(10_000)
    address = target.ctypes.data
    copier.copy([Transfer(address + 500 * i, source.ctypes.data + 500 * i, 500) for i in range(20)])
    np.testing.assert_array_equal(target, source)
    assert (cudart.fake_copies(), cudart.fake_waits(), cudart.fake_bytes()) == (20, 1, 10_000)
    assert cudart.fake_device() == 1


def test_memory_is_freed_on_its_own_gpu(cudart: ctypes.CDLL) -> None:
    """`cudaFreeHost` in a thread that has chosen no GPU would open a context on the first."""
    copier = CudaCopier(1)
    held = [copier.allocate(100) for _ in range(copying.MOST_IDLE + 1)]
    cudart.cudaSetDevice(0)
    held.clear()
    assert cudart.fake_device() == 1


def test_memory_may_come_back_while_more_is_asked_for(cudart: ctypes.CDLL) -> None:
    """A garbage collection inside `allocate` gives back what nothing refers to any more."""
    copier = CudaCopier(0)
    held = [copier.allocate(100)]

    class Idle(dict[int, list[int]]):
        def __missing__(self, size: int) -> list[int]:
            held.clear()
            return self.setdefault(size, [])

    copier._idle = Idle()
    done = threading.Thread(target=copier.allocate, args=(100,), daemon=True)
    done.start()
    done.join(60)
    assert not done.is_alive()


def test_page_locked_memory_is_used_again_and_its_amount_is_bounded(cudart: ctypes.CDLL) -> None:
    copier = CudaCopier(0)
    for size in range(100, 30_000, 100):
        memory = copier.allocate(size)
        view = memory[: size // 2].view(np.uint8)
        del memory
        assert copier.allocate(size).ctypes.data != view.ctypes.data  # it still lives through the view
        del view
    gc.collect()
    assert cudart.fake_allocations() <= 2
    held = [copier.allocate(2**20) for _ in range(50)]
    held.clear()
    gc.collect()
    assert cudart.fake_allocations() - cudart.fake_frees() <= copying.MOST_IDLE


def test_errors_of_the_runtime_are_told(cudart: ctypes.CDLL) -> None:
    copier = CudaCopier(0)
    memory = copier.allocate(64)
    source = np.zeros(64, np.uint8)
    cudart.fake_fail_copy_at(cudart.fake_copies() + 1)
    halves = [Transfer(memory.ctypes.data + i, source.ctypes.data + i, 32) for i in (0, 32)]
    with pytest.raises(EngineError, match=r"64 bytes.*error 700"):
        copier.copy(halves)
    assert cudart.fake_waits() == 1  # the first half was under way
    with pytest.raises(EngineError, match=r"cudaSetDevice\(9\).*101"):
        CudaCopier(9).allocate(10)

"""The engine cache: what is found, what is built again and why, and who builds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gaitstream.engines import open_engine
from gaitstream.engines.base import Built
from gaitstream.engines.cache import EngineCache, Key, Sidecar, default_root
from gaitstream.engines.openvino import OpenVino
from gaitstream.engines.proof import Layer, prove
from gaitstream.errors import EngineError, NoRoomError
from tests.engines.small_graphs import small_graph

KEY = Key(
    graph_sha256="a" * 64,
    runtime="tensorrt",
    version="11.4",
    device="sm_89:RTX",
    precision="fp16",
    profile="1,16,64",
)
PROOF = prove([Layer("conv", "fp16", True)], "a test")
BLOB = b"engine" * 1000
CHILD = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""Environment of a child that imports this module."""


class Builder:
    """Builds, and counts how often it was asked to."""

    def __init__(self, blob: bytes | None = BLOB) -> None:
        self.blob = blob
        self.calls = 0

    def __call__(self) -> Built:
        self.calls += 1
        return Built(self.blob, PROOF)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "frame.onnx"


def entry(cache: EngineCache, suffix: str) -> Path:
    (path,) = cache.root.glob(f"*{suffix}")
    return path


def test_second_time_comes_from_the_cache(cache: EngineCache, here: Path) -> None:
    build = Builder()
    first = cache.get(KEY, here, build)
    second = cache.get(KEY, here, build)
    assert build.calls == 1
    assert first.reason == "there is none yet"
    assert second.reason == ""
    assert second.built == first.built == Built(BLOB, PROOF)


def test_runtime_without_engine_files_keeps_its_proof(cache: EngineCache, here: Path) -> None:
    build = Builder(None)
    cache.get(KEY, here, build)
    assert cache.get(KEY, here, build).built == Built(None, PROOF)
    assert build.calls == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"graph_sha256": "b" * 64}, "the graph has changed"),
        ({"version": "10.9"}, "version is '11.4', needed is '10.9'"),
        ({"device": "sm_86:A10"}, "device is 'sm_89:RTX', needed is 'sm_86:A10'"),
        ({"profile": "1,8,8"}, "profile is '1,16,64', needed is '1,8,8'"),
    ],
)
def test_stale_and_foreign_engines_say_why(
    cache: EngineCache, here: Path, change: dict[str, str], says: str
) -> None:
    cache.get(KEY, here, Builder())
    build = Builder()
    found = cache.get(msgspec.structs.replace(KEY, **change), here, build)
    assert build.calls == 1
    assert says in found.reason


def test_damaged_engine_is_built_again(cache: EngineCache, here: Path) -> None:
    cache.get(KEY, here, Builder())
    entry(cache, ".engine").write_bytes(BLOB[:100])
    build = Builder()
    found = cache.get(KEY, here, build)
    assert build.calls == 1
    assert "damaged (100 bytes, 6000 were written)" in found.reason
    assert found.built.blob == BLOB
    assert cache.get(KEY, here, build).reason == ""


def test_missing_engine_file_is_built_again(cache: EngineCache, here: Path) -> None:
    cache.get(KEY, here, Builder())
    entry(cache, ".engine").unlink()
    found = cache.get(KEY, here, Builder())
    assert "cannot be read (No such file" in found.reason


@pytest.mark.parametrize("damage", [b'{"key":', b'{"graph": "\xff"}'])
def test_damaged_metadata_is_built_again(damage: bytes, cache: EngineCache, here: Path) -> None:
    cache.get(KEY, here, Builder())
    entry(cache, ".json").write_bytes(damage)
    found = cache.get(msgspec.structs.replace(KEY, device="sm_120:other"), here, Builder())
    assert "damaged" not in found.reason
    found = cache.get(KEY, here, Builder())
    assert "metadata" in found.reason
    assert "damaged" in found.reason


def test_entry_copied_from_another_machine_is_foreign(cache: EngineCache, here: Path) -> None:
    cache.get(KEY, here, Builder())
    path = entry(cache, ".json")
    sidecar = msgspec.json.decode(path.read_bytes(), type=Sidecar)
    foreign = msgspec.structs.replace(sidecar, key=msgspec.structs.replace(KEY, device="sm_120:other"))
    path.write_bytes(msgspec.json.encode(foreign))
    found = cache.get(KEY, here, Builder())
    assert "is foreign: device is 'sm_120:other', needed is 'sm_89:RTX'" in found.reason


def test_engine_that_does_not_load_is_built_again(
    graph: Path, cache: EngineCache, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes with the right checksum that the runtime refuses, as after a silent library change."""
    caplog.set_level(logging.INFO)
    open_engine(graph, "openvino", "fp32", cache=cache).close()
    path = entry(cache, ".json")
    import hashlib

    junk = b"junk" * 100
    entry(cache, ".engine").write_bytes(junk)
    sidecar = msgspec.json.decode(path.read_bytes(), type=Sidecar)
    sound = msgspec.structs.replace(sidecar, sha256=hashlib.sha256(junk).hexdigest(), size_bytes=len(junk))
    path.write_bytes(msgspec.json.encode(sound))
    with open_engine(graph, "openvino", "fp32", cache=cache) as engine:
        assert engine.infer({"images": images})["features"].shape == (5, 8)
    assert "it did not load" in caplog.text
    assert entry(cache, ".engine").read_bytes() != junk


def _build_slowly(root: str, log: str) -> None:
    def build() -> Built:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.4)  # long enough for the other process to come to the lock
        return Built(BLOB, PROOF)

    found = EngineCache(Path(root)).get(KEY, Path("frame.onnx"), build)
    if found.built.blob != BLOB:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("free_batch", "error"),
    [
        (False, NoRoomError("the GPU has no room")),
        (True, NoRoomError("the GPU has no room")),
        (False, EngineError("an output depends on the data")),
    ],
)
def test_an_engine_that_cannot_run_is_kept(
    free_batch: bool, error: EngineError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process has the GPU's memory: nothing is wrong with what was compiled in minutes."""
    graph, cache = small_graph(tmp_path / "g.onnx"), EngineCache(tmp_path / "cache")
    open_engine(graph, "openvino", "fp32", free_batch=free_batch, cache=cache).close()

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(OpenVino, "load", full)
    monkeypatch.setattr(OpenVino, "build", lambda *_: pytest.fail("it is compiled again"))
    with pytest.raises(type(error), match=str(error)):
        open_engine(graph, "openvino", "fp32", free_batch=free_batch, cache=cache)


def test_two_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "builds"
    workers = [
        context.Process(target=_build_slowly, args=(str(tmp_path / "cache"), str(log))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_killed_builder_leaves_nothing_half_written(tmp_path: Path) -> None:
    """The lock goes with its process, and what it was writing is never taken for an engine."""
    cache = EngineCache(tmp_path / "cache")
    script = f"""
        import os
        from pathlib import Path
        from gaitstream.engines import cache as module
        from gaitstream.engines.base import Built
        from tests.engines.test_cache import KEY, PROOF
        module.os.fsync = lambda handle: os.kill(os.getpid(), 9)
        cache = module.EngineCache(Path({str(cache.root)!r}))
        cache.get(KEY, Path("frame.onnx"), lambda: Built(b"x" * 99, PROOF))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, check=False, env=CHILD)
    assert done.returncode == -9
    assert not list(cache.root.glob("*.engine"))
    build = Builder()
    assert cache.get(KEY, Path("frame.onnx"), build).built.blob == BLOB
    assert build.calls == 1
    assert sorted(path.suffix for path in cache.root.iterdir()) == [".engine", ".json", ".lock"]


class Unwritable(EngineCache):
    """A cache in a place that cannot be made: root ignores permissions, but not this."""

    def __init__(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder")
        super().__init__(tmp_path / "file" / "cache")


def test_unwritable_cache_is_said_and_the_engine_used_all_the_same(
    tmp_path: Path, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Unwritable(tmp_path)
    found = cache.get(KEY, here, Builder())
    assert found.built.blob == BLOB
    assert found.sidecar is None
    assert "cannot be written (Not a directory)" in caplog.text
    assert "GAITSTREAM_CACHE" in caplog.text
    with pytest.raises(EngineError, match="make it writable, or set GAITSTREAM_CACHE"):
        cache.get(KEY, here, Builder(), must_keep=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down to another user")
def test_read_only_cache_is_still_read(open_to_all: Path) -> None:
    """Another user's cache: entries are used, new ones are kept in memory."""
    cache = EngineCache(open_to_all / "cache")
    cache.get(KEY, Path("frame.onnx"), Builder())
    script = f"""
        import os
        from pathlib import Path
        import msgspec
        from tests.engines.test_cache import KEY, PROOF, Builder, EngineCache
        os.setuid(65534)
        cache, build = EngineCache(Path({str(cache.root)!r})), Builder()
        assert cache.get(KEY, Path("frame.onnx"), build).reason == "" and build.calls == 0
        other = msgspec.structs.replace(KEY, version="12")
        found = cache.get(other, Path("frame.onnx"), build)
        assert found.sidecar is None and build.calls == 1, found
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        timeout=60,
        check=False,
        env=CHILD,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stderr


def test_full_disk_is_said_and_leaves_nothing_behind(
    tmp_path: Path, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on file size stands in for a full disk: the same call fails at the same place."""
    import signal

    cache = EngineCache(tmp_path / "cache")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        found = cache.get(KEY, here, Builder())
        with pytest.raises(EngineError, match="free some space, or set GAITSTREAM_CACHE"):
            cache.get(KEY, here, Builder(), must_keep=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert found.built.blob == BLOB
    assert found.sidecar is None
    assert "File too large" in caplog.text
    assert [path.suffix for path in cache.root.iterdir()] == [".lock"]


def test_engines_of_a_changed_graph_are_rebuilt(
    tmp_path: Path, cache: EngineCache, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "graph.onnx"
    results = []
    for seed in (0, 1):
        small_graph(path, seed=seed)
        with open_engine(path, "openvino", "fp32", cache=cache) as engine:
            results.append(engine.infer({"images": images})["features"])
    assert "the graph has changed" in caplog.text
    assert not np.allclose(results[0], results[1])


def test_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAITSTREAM_CACHE", "/somewhere")
    assert default_root() == Path("/somewhere/engines")
    monkeypatch.delenv("GAITSTREAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_root() == Path("/xdg/gaitstream/engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path.home() / ".cache/gaitstream/engines"

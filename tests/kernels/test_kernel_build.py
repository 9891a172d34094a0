"""Compilers, caches and what is said when they are missing."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gaitstream.errors import KernelError
from gaitstream.kernels import build, cpu, nvrtc, ptxas, recipe
from gaitstream.kernels.cuda import Launcher
from gaitstream.kernels.driver import Driver


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path))
    return tmp_path / "kernels"


@pytest.fixture
def no_tools(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither a compiler, nor prebuilt files, nor anything in the cache."""
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.setenv("CUDA_HOME", str(cache))
    monkeypatch.delenv("NVCC", raising=False)
    monkeypatch.setattr(build, "PREBUILT", cache / "prebuilt")
    return cache


def test_cpu_library_is_built_once_by_many_threads(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    original = build.run_compiler

    def counted(command: list[str], target: Path) -> str:
        runs.append(target)
        return original(command, target)

    monkeypatch.setattr(build, "run_compiler", counted)
    monkeypatch.setattr(recipe, "CPU_SOURCES", ("crop_cpu.cpp",))
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: build.build_cpu(), range(4)))
    assert len(paths) == len(runs) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".so"]


def test_a_compiler_named_and_missing_is_not_another(no_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_tools / "bin").mkdir(parents=True)
    for name in ("nvcc", "g++"):
        (no_tools / name).symlink_to("/bin/true")
    assert recipe.find_nvcc() == str(no_tools / "nvcc")
    monkeypatch.setenv("NVCC", "/opt/no-such/nvcc")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match="NVCC=/opt/no-such/nvcc is not there"):
        build.nvcc()
    with pytest.raises(KernelError, match="CXX=no-such-compiler is not on PATH"):
        build.host_compiler()


def test_a_compiler_may_be_several_words(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ccache g++`, or a path with a blank in it."""
    launcher = tmp_path / "my tools" / "launch"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/started\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(recipe, "CPU_SOURCES", ("crop_cpu.cpp",))
    monkeypatch.setenv("CXX", f"'{launcher}' g++")
    assert build.build_cpu().is_file()
    assert set((tmp_path / "started").read_text().split()) == {"g++"}
    monkeypatch.setenv("CXX", str(launcher))
    assert build.host_compiler() == [str(launcher)]
    monkeypatch.setenv("CXX", "g++ 'unclosed")
    with pytest.raises(KernelError, match="CXX=g\\+\\+ 'unclosed is not on PATH"):
        build.host_compiler()


def test_compiler_errors_show_its_last_lines(tmp_path: Path) -> None:
    source = tmp_path / "broken.cpp"
    source.write_text("int main() { return missing_name; }\n")
    with pytest.raises(KernelError, match=r"could not compile out\.so:[\s\S]*missing_name"):
        build.run_compiler([*build.host_compiler(), str(source)], tmp_path / "out.so")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.cpp"]


def test_a_cache_that_cannot_be_written_leaves_numpy_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's file system is often read-only, and a service's user has no home."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(build, "PREBUILT", tmp_path)
    cpu.opened.cache_clear()
    cpu.kind.cache_clear()
    try:
        assert not cpu.available()
        assert "cannot be written (Not a directory): set GAITSTREAM_CACHE to a folder" in cpu.kind().said
    finally:
        cpu.opened.cache_clear()
        cpu.kind.cache_clear()


def test_missing_host_compiler_is_named(no_tools: Path) -> None:
    with pytest.raises(KernelError, match=r"no C\+\+ compiler \(g\+\+, c\+\+ is not on PATH\).*'numpy'"):
        next(build.cpu_libraries())


def test_missing_gpu_compilers_are_named(no_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(target: int, source: Path) -> bytes:
        raise KernelError("no NVRTC library: pip install nvidia-cuda-nvrtc")

    monkeypatch.setattr(nvrtc, "compile_program", missing)
    with pytest.raises(KernelError, match=r"no nvcc .*nvidia-cuda-nvrtc.*no NVRTC library"):
        next(build.gpu_images((9, 0)))


def test_too_old_gpus_are_told_so(emulator: ctypes.CDLL) -> None:
    emulator.emulator_setup(1, 1, 6)
    with pytest.raises(KernelError, match=r"compute capability 6\.0; the kernels need 7\.5"):
        Launcher(Driver())


def test_prebuilt_fatbin_comes_first(no_tools: Path) -> None:
    build.prebuilt_gpu().parent.mkdir(parents=True)
    build.prebuilt_gpu().write_bytes(b"fatbin")
    assert next(build.gpu_images((12, 1))) == b"fatbin"


def test_a_fatbin_that_the_driver_refuses_is_compiled_anew(
    no_tools: Path, emulator: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU of a capability between the targets, or a driver older than the fatbin's PTX."""
    build.prebuilt_gpu().parent.mkdir(parents=True)
    build.prebuilt_gpu().write_bytes(b"refused")
    asked: list[int] = []

    def compiled(target: int, source: Path) -> bytes:
        asked.append(target)
        return b"made for it"

    monkeypatch.setattr(nvrtc, "compile_program", compiled)
    assert Launcher(Driver()) is not None
    assert asked == [90]


def test_every_gpu_from_turing_on_finds_code_in_the_fatbin() -> None:
    command = " ".join(recipe.gpu_command("nvcc"))
    ptx = {int(one) for one in re.findall(r"code=compute_(\d+)", command)}
    machine = {int(one) for one in re.findall(r"code=sm_(\d+)", command)}
    for capability in (75, 80, 86, 87, 89, 90, 100, 101, 103, 110, 120, 121, 130):
        exact = any(sm // 10 == capability // 10 and sm <= capability for sm in machine)
        assert exact or any(target <= capability for target in ptx), capability
    assert 80 in ptx  # what lies between the targets


@pytest.mark.slow
def test_nvcc_compiles_every_target_without_spills(tmp_path: Path) -> None:
    try:
        build.nvcc()
    except KernelError as error:
        pytest.skip(str(error))
    target = tmp_path / "kernels.fatbin"
    usages = ptxas.parse_usage(build.build_gpu(target))
    assert target.stat().st_size > 100_000
    assert {usage.target for usage in usages} == set(recipe.GPU_TARGETS)
    assert len(usages) == 16 * len(recipe.GPU_TARGETS)
    assert [usage for usage in usages if usage.spill_bytes] == []
    # Two blocks of 384 threads must fit in 64 K registers, and three of the scan's 128.
    scans = [usage for usage in usages if usage.kernel.startswith("scan")]
    assert max(usage.registers for usage in scans) <= 168
    fast = [usage for usage in usages if "general" not in usage.kernel and usage.target >= 80]
    assert max(usage.registers for usage in fast if usage not in scans) <= 80
    listing = shutil.which("cuobjdump")
    if listing:
        ptx = subprocess.run([listing, "--list-ptx", str(target)], capture_output=True, text=True, check=True)
        assert all(f"sm_{target}" in ptx.stdout for target in recipe.PTX_TARGETS)


@pytest.fixture
def nvrtc_library() -> None:
    try:
        nvrtc.supported_targets()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("nvrtc_library")
def test_nvrtc_compiles_the_sources(cache: Path) -> None:
    assert b"pgha_f32_fixed" in nvrtc.compile_program(90, recipe.SOURCES / recipe.GPU_PROGRAM)
    # PTX for what it does not know yet; in a process without the emulated driver, as where there is none.
    script = (
        "from gaitstream.kernels import nvrtc, recipe\n"
        "assert b'.target sm_' in nvrtc.compile_program(999, recipe.SOURCES / recipe.GPU_PROGRAM)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.usefixtures("nvrtc_library")
def test_what_nvrtc_says_of_a_wrong_source_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.cu"
    wrong.write_text('extern "C" __global__ void k() { undeclared = 1; }')
    with pytest.raises(KernelError, match=r"could not compile wrong.cu for sm_90:(.|\n)*undeclared"):
        nvrtc.compile_program(90, wrong)


def test_ptxas_output_is_read() -> None:
    text = """\
ptxas info    : Compiling entry function 'k' for 'sm_75'
    0 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 416 bytes smem, 608 bytes cmem[0]
"""
    (usage,) = ptxas.parse_usage(text)
    assert usage == ptxas.Usage("k", 75, 80, 416, 20)
    assert "| `k` | 416 | 80 (spills 20) |" in ptxas.as_table([usage])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--cpu"], 0, ".so"), ([], 2, "nothing to build"), (["--gpus"], 2, "usage")],
)
def test_command_line(arguments: list[str], code: int, said: str, cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gaitstream.kernels.build", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_command_line_reports_a_missing_compiler(cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gaitstream.kernels.build", "--cpu"],
        capture_output=True,
        text=True,
        env={**os.environ, "CXX": "no-such-compiler"},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no C++ compiler (CXX=no-such-compiler")

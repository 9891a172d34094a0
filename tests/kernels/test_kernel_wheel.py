"""What wheels carry, which of it a machine takes, and that it is as fast as what is compiled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.installed import best_of, build_wheel, places
from gaitstream.kernels import build, cpu, plugin_library, recipe
from hatch_build import Kernels

V3 = "avx2 fma f16c bmi1 bmi2 abm movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.fixture
def prebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of prebuilt libraries and an empty cache; the library is looked for again."""
    folder = tmp_path / "prebuilt"
    folder.mkdir()
    monkeypatch.setattr(build, "PREBUILT", folder)
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    for found in (cpu.opened, cpu.kind):
        found.cache_clear()
    yield folder
    for found in (cpu.opened, cpu.kind):
        found.cache_clear()


@pytest.mark.parametrize(
    ("machine", "flags", "level"),
    [
        ("x86_64", f"{V4} avx512_vnni avx512_bf16", "x86-64-v4-vnni"),
        ("x86_64", V4, "x86-64-v4"),
        ("x86_64", V4.replace("avx512bw", ""), "x86-64-v3"),
        ("x86_64", V3, "x86-64-v3"),
        ("x86_64", "avx2 fma", "x86-64"),
        ("x86_64", "", "x86-64"),
        ("aarch64", "fp asimd", "armv8-a"),
        ("riscv64", "", None),
    ],
)
def test_a_cpu_takes_the_best_it_can_run(
    machine: str, flags: str, level: str | None, prebuilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (one for levels in recipe.LEVELS.values() for one in levels):
        (prebuilt / recipe.cpu_file(one)).write_bytes(b"")
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(build, "cpu_identity", lambda: f"flags : {flags}")
    found = build.prebuilt_cpu()
    assert (found and found.name.rsplit("-", 1)[0]) == (level and f"cpu-{level}")


def test_a_library_of_other_sources_is_not_taken(prebuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prebuilt / recipe.cpu_file(build.runnable_levels()[-1])).write_bytes(b"")
    assert build.prebuilt_cpu() is not None
    monkeypatch.setattr(recipe, "CPU_SOURCES", recipe.CPU_SOURCES[:-1])
    assert build.prebuilt_cpu() is None


def test_a_library_that_does_not_load_is_passed_over(prebuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = prebuilt / recipe.cpu_file(build.runnable_levels()[0])
    damaged.write_bytes(b"not a library")
    monkeypatch.setenv("CXX", "no-such-compiler")
    kind = cpu.kind()
    assert not kind.compiled
    assert "numpy" in kind.said
    assert "CXX=no-such-compiler" in kind.said
    assert f"{damaged} does not load" in kind.said


def test_a_packaged_plugin_for_another_tensorrt_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GAITSTREAM_NATIVE", str(tmp_path / "nothing"))
    packaged = tmp_path / plugin_library.FILE
    packaged.write_bytes(b"not a library")
    monkeypatch.setattr(plugin_library, "PACKAGED", packaged)
    assert plugin_library.library_path() == packaged
    assert not plugin_library.load_if_there()
    assert "does not load" in caplog.text


def test_what_a_wheel_carries_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels("x86_64", tmp_path)
    levels = [level.name for level in recipe.LEVELS["x86_64"]]
    assert kernels.wanted("cpu,fatbin") == [*levels, "fatbin"]
    assert kernels.wanted("x86-64-v3") == ["x86-64-v3"]
    assert kernels.wanted("none") == kernels.wanted("") == []
    with pytest.raises(RuntimeError, match=r"gpu is unknown for x86_64; choose among cpu, .*fatbin"):
        kernels.wanted("gpu")
    with pytest.raises(RuntimeError, match="x86-64-v3 is unknown for aarch64"):
        Kernels("aarch64", tmp_path).wanted("x86-64-v3")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert kernels.wanted(None) == Kernels("sparc", tmp_path).wanted(None) == []
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler to compile x86-64-v3"):
        kernels.compile("x86-64-v3")
    monkeypatch.setenv("CXX", "/bin/true")
    assert kernels.wanted(None) == levels


def test_a_kernel_named_twice_is_compiled_once_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    kernels = Kernels("x86_64", tmp_path)
    assert kernels.wanted("x86-64, cpu,x86-64,none") == [
        "x86-64",
        *[one for one in kernels.levels if one != "x86-64"],
    ]
    with pytest.raises(RuntimeError, match="cpu is unknown for riscv64; choose among fatbin, plugin, none"):
        Kernels("riscv64", tmp_path).wanted("cpu")


@pytest.mark.slow
def test_installed_is_as_fast_as_built(tmp_path: Path) -> None:
    """The wheel in an environment without a compiler, beside one that compiles and one that cannot."""
    level = build.runnable_levels()[0]
    wheel = build_wheel(tmp_path / "wheel", level.name)
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")
    assert f"gaitstream/kernels/prebuilt/{recipe.cpu_file(level)}" in zipfile.ZipFile(wheel).namelist()
    found = best_of(places(wheel, tmp_path), turns=2)
    ours, built, neither = found["wheel, no compiler"], found["compiled at first use"], found["neither"]
    assert level.name in ours.kernels
    assert "compiled for this machine" in built.kernels
    assert "numpy" in neither.kernels
    assert max(ours.off, built.off) < 1e-5
    assert ours.align_us < 2 * built.align_us
    assert ours.crop_us < 2 * built.crop_us
    assert 5 * ours.align_us < neither.align_us

"""Build hook: wheels carry the kernels, compiled.

$GAITSTREAM_WHEEL_KERNELS names what is compiled, separated by commas:

    cpu       the CPU library for every instruction set of the architecture (recipe.LEVELS)
    x86-64-v3 one of them; any name of recipe.LEVELS
    fatbin    the GPU kernels; needs nvcc, and minutes
    plugin    TensorRT's plugin; needs CMake, nvcc and TensorRT's headers ($TENSORRT_INCLUDE, $TENSORRT_LIB)
    none      nothing

Unset, it is `cpu` where there is a compiler, else `none`: such a package compiles at first use, or runs on
numpy. What is named and cannot be compiled fails the build. $GAITSTREAM_WHEEL_MACHINE names another
architecture than this machine's, `aarch64` for one. Editable installs compile nothing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
INSIDE = "gaitstream/kernels/prebuilt"
PLUGIN_FILE = "libgaitstream_plugins.so"
Found = TypeVar("Found")


def recipe() -> ModuleType:
    """`gaitstream.kernels.recipe`, by its path: a build lacks the package's dependencies."""
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "gaitstream" / "kernels" / "recipe.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("there is no gaitstream/kernels/recipe.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def needed(tool: Found | None, name: str, for_what: str) -> Found:
    """The tool, or an error that names it."""
    if tool is None:
        raise RuntimeError(f"there is no {name} to compile {for_what}: see hatch_build.py")
    return tool


def run(command: Sequence[str]) -> None:
    """Run a compiler; its output is the error's."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")


class Kernels:
    """What one wheel carries.

    Args:
        machine: architecture, as platform.machine() says it.
        out: folder the files are written to.
    """

    def __init__(self, machine: str, out: Path) -> None:
        self.machine = machine
        self.out = out
        self.recipe = recipe()
        self.levels = {level.name: level for level in self.recipe.LEVELS.get(machine, ())}

    def wanted(self, words: str | None) -> list[str]:
        """Names of what to compile, `cpu` spelled out.

        Args:
            words: of $GAITSTREAM_WHEEL_KERNELS; None where it is not set.
        """
        if words is None:
            linux = sys.platform == "linux"
            return list(self.levels) if linux and self.recipe.find_host_compiler(self.machine) else []
        names: dict[str, None] = {}  # each once: two compilers would write one file
        for word in filter(None, map(str.strip, words.split(","))):
            spelled = {"cpu": list(self.levels) or [word], "none": []}.get(word, [word])
            names |= dict.fromkeys(spelled)
        unknown = set(names) - {*self.levels, "fatbin", "plugin"}
        if unknown:
            known = [*(["cpu", *self.levels] if self.levels else []), "fatbin", "plugin", "none"]
            raise RuntimeError(
                f"GAITSTREAM_WHEEL_KERNELS={words}: {', '.join(sorted(unknown))} is unknown for "
                f"{self.machine}; choose among {', '.join(known)}"
            )
        return list(names)

    def compile(self, name: str) -> None:
        """Compile one of `wanted`."""
        if name == "fatbin":
            command = self.recipe.gpu_command(needed(self.recipe.find_nvcc(), "nvcc", "the GPU kernels"))
            run([*command, "-o", str(self.out / self.recipe.gpu_file())])
        elif name == "plugin":
            self._compile_plugin()
        else:
            level = self.levels[name]
            compiler = needed(
                self.recipe.find_host_compiler(self.machine), "C++ compiler", f"{name} for {self.machine}"
            )
            command = self.recipe.cpu_command(compiler, [*level.options, "-s"])
            run([*command, "-o", str(self.out / self.recipe.cpu_file(level))])

    def _compile_plugin(self) -> None:
        source = ROOT / "gaitstream" / "kernels" / "plugin"
        named = (name for name in ("TENSORRT_INCLUDE", "TENSORRT_LIB") if os.environ.get(name))
        options = [f"-D{name}={os.environ[name]}" for name in named]
        compiler = f"-DCMAKE_CUDA_COMPILER={needed(self.recipe.find_nvcc(), 'nvcc', 'the plugin')}"
        cmake = needed(shutil.which("cmake"), "cmake", "the plugin")
        with tempfile.TemporaryDirectory() as folder:
            run([cmake, "-S", str(source), "-B", folder, "-DCMAKE_BUILD_TYPE=Release", compiler, *options])
            run([cmake, "--build", folder, "--parallel"])
            shutil.copy(Path(folder) / PLUGIN_FILE, self.out)


class KernelHook(BuildHookInterface[Any]):
    """Compiles the kernels into the wheel and tags it for what it then runs on."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling's call before the files are collected."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()  # until the wheel is written
        machine = os.environ.get("GAITSTREAM_WHEEL_MACHINE") or platform.machine()
        kernels = Kernels(machine, Path(self._folder.name))
        names = kernels.wanted(os.environ.get("GAITSTREAM_WHEEL_KERNELS"))
        self.app.display_info(f"kernels in the wheel: {', '.join(names) or 'none'}")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(kernels.compile, names))
        files = sorted(kernels.out.iterdir())
        build_data["force_include"].update({str(path): f"{INSIDE}/{path.name}" for path in files})
        if any(path.suffix == ".so" for path in files):
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-linux_{machine}"

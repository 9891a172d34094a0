"""Every step of the container images is a script; each is run here on its own."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gaitstream.deepstream import table
from gaitstream.events import Journal, Publisher
from gaitstream.events.keys import allow, new_pair, read_public

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "docker"
PLUGIN = ROOT / "gaitstream" / "kernels" / "plugin"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheels")
    done = run(SCRIPTS / "build-wheel.sh", out, GAITSTREAM_WHEEL_KERNELS="none")
    assert done.returncode == 0, done.stderr
    return out


def test_the_wheel_holds_what_a_run_needs(wheels: Path) -> None:
    import zipfile

    [wheel] = wheels.glob("gaitstream-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "gaitstream/py.typed" in names
    for pattern in (
        r"gaitstream/zoo/demo/.*\.onnx",
        r"gaitstream/kernels/csrc/pgha\.cu",
        r"gaitstream/kernels/csrc/pgha_cpu\.cpp",
        r"gaitstream/deepstream/parser/decode\.cpp",
        r".*licenses/LICENSE",
    ):
        assert any(re.fullmatch(pattern, name) for name in names), pattern
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_wheel_installs_and_answers(wheels: Path, tmp_path: Path) -> None:
    """`--version` and `--help` need none of the dependencies."""
    [wheel] = wheels.glob("gaitstream-*.whl")
    target = tmp_path / "site"
    done = run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel)
    assert done.returncode == 0, done.stderr
    answer = run(sys.executable, "-S", "-m", "gaitstream", "--version", PYTHONPATH=str(target))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("gaitstream ")


class Image:
    """Folders that stand for a DeepStream image, and commands in place of the real ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.venv = root / "venv"
        for folder in (self.bin, self.venv / "bin"):
            folder.mkdir(parents=True)

    def command(self, path: Path, text: str) -> None:
        """An executable script."""
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def python(self, imports_after: int) -> None:
        """An interpreter in which TensorRT imports from the n-th try on; its calls are written down."""
        self.command(
            self.venv / "bin" / "python",
            f'echo "$@" >>{self.root}/asked\n'
            f'case "$*" in *pip*) exit 0 ;; *) n=$(grep -c import.TENSORRT {self.root}/asked) '
            f"&& [ $n -ge {imports_after} ] && echo TensorRT 10.16 ;; esac",
        )

    def install_tensorrt(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the step."""
        path = f"{self.bin}:/usr/bin:/bin"
        return run(SCRIPTS / "install-tensorrt.sh", self.venv, PATH=path, **environment)

    @property
    def asked(self) -> str:
        """Every call of the interpreter."""
        return (self.root / "asked").read_text()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_tensorrt_that_imports_is_left_alone(image: Image) -> None:
    image.python(imports_after=1)
    assert image.install_tensorrt().returncode == 0
    assert "pip" not in image.asked


def test_bindings_of_the_librarys_version_are_taken(image: Image) -> None:
    image.python(imports_after=2)
    image.command(image.bin / "dpkg-query", "echo 10.16.1.11-1+cuda13.2")
    assert image.install_tensorrt().returncode == 0
    assert "tensorrt-cu13-bindings==10.16.1.11" in image.asked


def test_without_the_package_the_library_says_its_version(image: Image) -> None:
    """`pipefail` ended the build here, silently, when dpkg knew no such package."""
    image.python(imports_after=2)
    image.command(image.bin / "dpkg-query", "exit 1")
    image.command(image.bin / "ldconfig", "echo '\tlibnvinfer.so.10.16.1 (libc6,x86-64) => /usr/lib/x.so'")
    done = image.install_tensorrt()
    assert done.returncode == 0, done.stderr
    assert "tensorrt-cu13-bindings==10.16.1" in image.asked


def test_an_image_without_tensorrt_is_not_built(image: Image) -> None:
    image.python(imports_after=99)
    image.command(image.bin / "dpkg-query", "exit 1")
    image.command(image.bin / "ldconfig", "true")
    done = image.install_tensorrt()
    assert done.returncode == 1
    assert "9.1-samples-multiarch" in done.stderr
    image.command(image.bin / "dpkg-query", "echo 10.16.1.11-1+cuda13.2")
    done = image.install_tensorrt()
    assert done.returncode == 1
    assert "TensorRT 10.16.1.11 does not import" in done.stderr


def test_the_patched_rtsp_plugins_are_copied_in(tmp_path: Path) -> None:
    source, target = tmp_path / "tmp99", tmp_path / "gstreamer-1.0"
    source.mkdir()
    target.mkdir()
    names = ("libgstrtpmanager.so", "libgstrtsp.so", "libgstvideoparsersbad.so")
    for name in names:
        (target / name).write_text("Ubuntu's")
    missing = run(SCRIPTS / "fix-rtsp.sh", source, target, HOME=str(tmp_path))
    assert missing.returncode == 1
    assert "libgstrtpmanager.so: is this a DeepStream 9.1 image?" in missing.stderr
    for name in names:
        (source / name).write_text("patched")
    assert run(SCRIPTS / "fix-rtsp.sh", source, target, HOME=str(tmp_path)).returncode == 0
    assert {(target / name).read_text() for name in names} == {"patched"}
    assert "scripts/docker/fix-rtsp.sh" in (ROOT / "Dockerfile").read_text().partition("AS gpu")[2]


def test_the_verify_stage_holds_no_second_copy_of_the_package() -> None:
    """`/repo` beside the wheel shadowed it, and its fatbin with it."""
    stage = (ROOT / "Dockerfile").read_text().partition("AS verify")[2]
    copied = [line.split()[1:-1] for line in stage.splitlines() if line.startswith("COPY")]
    assert {one for line in copied for one in line} == {
        "constraints.txt",
        "pyproject.toml",
        "scripts",
        "tests",
    }
    needed = set(re.findall(r"tests/\S+\.py", (ROOT / "scripts" / "verify-gpu.sh").read_text()))
    assert len(needed) >= 2
    assert all((ROOT / path).is_file() for path in needed)


def verify(tmp_path: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """The whole check, writing elsewhere."""
    return run(ROOT / "scripts" / "verify-gpu.sh", *arguments, OUT=str(tmp_path / "out"), PYTHON=python)


def test_the_gpu_check_fails_without_a_gpu(tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU")
    done = verify(tmp_path, "--only", "gpu")
    assert done.returncode == 1
    assert "FAILED" in (tmp_path / "out" / "table.txt").read_text()
    assert "pass" not in (tmp_path / "out" / "table.txt").read_text()


def test_a_skipped_test_is_no_pass(tmp_path: Path) -> None:
    """Pytest ends with 0 when all tests of a file were skipped."""
    script = (ROOT / "scripts" / "verify-gpu.sh").read_text()
    start = script.index("strict_tests() {")
    function = script[start : script.index("\ndevice_tests()", start)]
    for body, code in (("pytest.skip('no GPU')", 1), ("assert True", 0), ("assert False", 1)):
        (tmp_path / "test_one.py").write_text(f"import pytest\ndef test_one():\n    {body}\n")
        command = f"python={sys.executable} out={tmp_path}\n{function}\nstrict_tests {tmp_path}/test_one.py"
        done = run("bash", "-uo", "pipefail", "-c", command)
        assert done.returncode == code, done.stdout + done.stderr


def test_checking_nothing_is_no_pass(tmp_path: Path) -> None:
    """`--only engines` without a bundle has no line in its table."""
    done = verify(tmp_path, "--only", "engines")
    assert done.returncode == 1
    assert "nothing was checked: --only engines needs bundles" in done.stdout


@pytest.mark.parametrize("arguments", [("--biggait", "/nowhere/bundle"), ("--gaitheat",), ("--only",)])
def test_a_bundle_that_is_not_there_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """The demo's model would be checked in its place, and pass."""
    done = verify(tmp_path, *arguments)
    assert done.returncode == 2
    said = "there is no part 'nothing'" if arguments[0] == "--only" else f"{arguments[0]} names a bundle's"
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def heredoc(name: str) -> str:
    """The Python program of one of the check's functions."""
    script = (ROOT / "scripts" / "verify-gpu.sh").read_text()
    text = script[script.index(f"{name}() {{") :].partition("<<'PY'")[2]
    return text[text.index("\n") + 1 : text.index("\nPY\n")]


@pytest.mark.parametrize(
    ("rows", "skipped", "passes"),
    [
        (("fp32 embedding", "fp32 deepstream", "fp16 embedding", "fp16 deepstream"), (), True),
        (("fp32 embedding", "fp32 deepstream"), ("tensorrt fp16",), False),
        (("fp32 embedding", "fp16 embedding"), (), False),
        ((), (), False),
    ],
)
def test_a_precision_that_was_left_out_is_no_pass(
    rows: tuple[str, ...], skipped: tuple[str, ...], passes: bool, tmp_path: Path
) -> None:
    report = {
        "rows": [
            {"runtime": "tensorrt", "precision": row.split()[0], "output": row.split()[1], "verdict": "pass"}
            for row in rows
        ],
        "skipped": dict.fromkeys(skipped, "it does not compile"),
    }
    (tmp_path / "parity.json").write_text(json.dumps(report))
    program = heredoc("export_random")
    judged = program[program.index("import json") :]
    head = f"from pathlib import Path\nroot = Path({str(tmp_path)!r})\n"
    done = run(sys.executable, "-c", head + judged)
    assert (done.returncode == 0) == passes, done.stdout + done.stderr


def test_what_the_check_imports_is_there() -> None:
    """A name that was changed in the package would show on a GPU alone."""
    script = (ROOT / "scripts" / "verify-gpu.sh").read_text()
    programs = re.findall(r"<<'PY'[^\n]*\n(.*?)\nPY\n", script, re.DOTALL)
    assert len(programs) == script.count("<<'PY'") >= 6
    asked = [
        (node.module, name.name)
        for program in programs
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gaitstream")
        for name in node.names
    ]
    assert len(asked) >= 8
    missing = []
    for module, name in asked:
        found = importlib.import_module(str(module))
        if not hasattr(found, name) and not (Path(str(found.__file__)).parent / f"{name}.py").is_file():
            missing.append(f"{module}.{name}")
    assert missing == []


@pytest.mark.slow
def test_the_check_proves_what_it_exports(tmp_path: Path) -> None:
    """With a narrow model, on the CPU alone: nothing ran on TensorRT, which is no pass."""
    small = """
from gaitstream.engines import registry
from gaitstream.export import parity
from gaitstream.models import spec
import torch
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.trained import TrainedGaitHeat
class Narrow:
    def random(self, seed):
        torch.manual_seed(seed)
        return TrainedGaitHeat(GaitHeat((4, 8, 8, 16), parts=16, dim=8, identities=3).eval())
spec.find_family = lambda name: Narrow()
parity.survey = lambda: [one for one in registry.survey() if one.name == "openvino"]
"""
    done = run(sys.executable, "-c", small + heredoc("export_random"), "gaitheat", tmp_path / "bundle")
    assert done.stdout.endswith("compared on TensorRT: []\n"), done.stdout + done.stderr
    assert done.returncode == 1
    rows = json.loads((tmp_path / "bundle" / "parity.json").read_text())["rows"]
    assert {row["output"] for row in rows if row["precision"] == "fp32"} >= {"embedding", "deepstream"}


@pytest.mark.parametrize(("left_out", "code"), [((), 0), (("utils",), 1), (("Probe",), 1)])
def test_documented_names_may_be_modules(left_out: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """`from pyservicemaker import utils` finds one that `hasattr` does not."""
    package = tmp_path / "pyservicemaker"
    package.mkdir()
    names = set(table.load()["api"]["import_names"]) - {*left_out}
    modules = names & {"osd", "signal", "utils"}
    (package / "__init__.py").write_text("".join(f"{name} = None\n" for name in sorted(names - modules)))
    for name in modules:
        (package / f"{name}.py").touch()
    done = run(sys.executable, "-c", heredoc("documented_api"), PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, str(list(left_out) or "none") in done.stdout) == (code, True), done.stderr


def test_the_image_that_checks_can_draw_its_benchmark() -> None:
    """`gaitstream bench` fails where its plots cannot be drawn, though everything was measured."""
    assert "gaitstream bench" in (ROOT / "scripts" / "verify-gpu.sh").read_text()
    assert re.search(r'^"\$\{pip\[@\]\}" .*\bmatplotlib\b', (SCRIPTS / "install-verify.sh").read_text(), re.M)


def test_going_by_way_of_the_host_is_no_pass(tmp_path: Path) -> None:
    script = (ROOT / "scripts" / "verify-gpu.sh").read_text()
    [function] = [line for line in script.splitlines() if line.startswith("on_device()")]
    words = "by way of the host"
    assert words in (ROOT / "gaitstream" / "models" / "on_device.py").read_text()
    assert words in function
    for line, code in ((f"people are encoded {words}", 1), ("running", 0)):
        (tmp_path / "log").write_text(f"INFO {line}\n")
        assert run("bash", "-c", f"{function}\non_device {tmp_path}/log").returncode == code
    assert run("bash", "-c", f"{function}\non_device {tmp_path}/none").returncode == 1  # it did not run


def test_torch_is_not_bound_to_the_pinned_cuda_packages(tmp_path: Path) -> None:
    """torch asks for the CUDA packages of its own release; the pinned compiler of kernels is of another."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/bash\nwhile [ $# -gt 0 ]; do [ "$1" != --constraint ] || cat "$2"; shift; done '
        f">>{tmp_path}/constraints\n"
    )
    python.chmod(0o755)
    done = run(SCRIPTS / "install-verify.sh", tmp_path)
    assert "would be imported in place of the installed package" in done.stderr  # this is a checkout
    pinned = (tmp_path / "constraints").read_text()
    assert re.search(r"^torch==", pinned, re.MULTILINE)
    assert "nvidia-" not in pinned


def test_what_the_images_compile_or_add_is_pinned() -> None:
    """A newer PyCUDA would be taken as source where the image has no compiler for it: its wheel is cached."""
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    dockerfile = (ROOT / "Dockerfile").read_text()
    built = " ".join(re.findall(r"build-wheel\.sh \S+([^\n]*)", dockerfile)).split()
    added = re.search(
        r'^"\$\{pip\[@\]\}" (onnx .*)$', (SCRIPTS / "install-verify.sh").read_text(), re.MULTILINE
    )
    assert "pycuda" in built
    assert added is not None
    assert {re.sub(r'"|\[.*', "", name) for name in (*built, *added[1].split())} - pinned == set()


def test_an_image_without_deepstreams_python_api_is_not_built(tmp_path: Path) -> None:
    script = (SCRIPTS / "install.sh").read_text()
    step = script[script.index("    service_maker=") : script.index('    "$(dirname')]
    empty = run("bash", "-euo", "pipefail", "-c", step, SERVICE_MAKER=str(tmp_path), venv="/nowhere")
    assert empty.returncode == 1
    assert f"there is no pyservicemaker wheel in {tmp_path}" in empty.stderr


def test_the_plugin_is_compiled_for_every_gpu() -> None:
    """Enabling CUDA sets the architectures to the compiler's oldest: the list has to be there before."""
    text = (PLUGIN / "CMakeLists.txt").read_text()
    assert 0 < text.index("set(CMAKE_CUDA_ARCHITECTURES 75") < text.index("project(")


def test_cmake_hands_every_gpu_to_the_compiler(tmp_path: Path) -> None:
    if not (shutil.which("cmake") and shutil.which("nvcc")):
        pytest.skip("no cmake, or no nvcc")
    for name in ("NvInfer.h", "libnvinfer.so"):
        (tmp_path / name).touch()
    folders = (f"-DTENSORRT_INCLUDE={tmp_path}", f"-DTENSORRT_LIB={tmp_path}")
    done = run("cmake", "-S", PLUGIN, "-B", tmp_path / "build", *folders)
    assert done.returncode == 0, done.stderr
    flags = "".join(path.read_text() for path in (tmp_path / "build").rglob("flags.make"))
    assert set(re.findall(r"sm_(\d+)", flags)) == {"75", "80", "86", "89", "90", "100", "120"}


@pytest.mark.parametrize("flavour", ["cpu", "gpu", "build", "verify"])
def test_system_packages_are_listed(flavour: str) -> None:
    done = run(SCRIPTS / "install-system.sh", flavour, "--print")
    assert done.returncode == 0
    assert set(done.stdout.split()) & {"libgl1", "g++"}
    assert flavour != "verify" or "python3-dev" in done.stdout  # for what torch.compile compiles


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("install-system.sh", ["tpu"]),
        ("install.sh", ["{wheels}", "{tmp}", "tpu"]),
    ],
)
def test_a_wrong_flavour_is_named(script: str, arguments: list[str], wheels: Path, tmp_path: Path) -> None:
    filled = [argument.format(wheels=wheels, tmp=tmp_path / "venv") for argument in arguments]
    done = run(SCRIPTS / script, *filled)
    assert done.returncode == 2
    assert "'tpu' is unknown" in done.stderr


def test_without_a_container_engine_the_build_says_so(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = run("/usr/bin/bash", SCRIPTS / "build-images.sh", PATH=str(tmp_path), CONTAINER_ENGINE="")
    assert done.returncode == 3
    assert "no docker and no podman" in done.stderr


def test_the_dockerfile_calls_only_scripts_that_exist() -> None:
    text = (ROOT / "Dockerfile").read_text()
    called = set(re.findall(r"scripts/docker/[\w.-]+", text))
    assert len(called) >= 5
    assert [name for name in called if not (ROOT / name).is_file()] == []
    assert text.count("USER gaitstream") == text.count("HEALTHCHECK") == 2
    assert "samples-multiarch" in text  # triton's has no python3-libnvinfer of its own
    assert ":latest" not in text


def test_the_health_check_tells_a_live_bus_from_none(tmp_path: Path) -> None:
    with Publisher(Journal(tmp_path / "journal"), "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as bus:
        addresses = {"GAITSTREAM_EVENTS": bus.endpoint, "GAITSTREAM_REPLAY": bus.replay}
        alive = run(sys.executable, SCRIPTS / "healthcheck.py", **addresses)
        deaf = run(
            sys.executable,
            SCRIPTS / "healthcheck.py",
            GAITSTREAM_METRICS_URL="http://127.0.0.1:9/metrics",
            **addresses,
        )
    dead = run(sys.executable, SCRIPTS / "healthcheck.py", **addresses)
    assert (alive.returncode, alive.stdout) == (0, "healthy\n")
    assert deaf.returncode == 1
    assert "no metrics at" in deaf.stdout
    assert dead.returncode == 1
    assert "no answer from the event bus" in dead.stdout


def test_the_health_check_of_a_bus_with_keys_takes_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    for name in ("server", "health"):
        new_pair(keys, name)
    allow(keys, read_public(keys / "health.pub"), "health")
    journal = Journal(tmp_path / "journal")
    with Publisher(journal, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", keys=keys) as bus:
        addresses = {"GAITSTREAM_EVENTS": bus.endpoint, "GAITSTREAM_REPLAY": bus.replay}
        key = {"GAITSTREAM_EVENTS_SERVER_KEY": str(keys / "server.pub")}
        alive = run(
            sys.executable, SCRIPTS / "healthcheck.py",
            **addresses, **key, GAITSTREAM_EVENTS_KEY=str(keys / "health.key"),
        )  # fmt: skip
        without = run(sys.executable, SCRIPTS / "healthcheck.py", **addresses)
        wrong = run(
            sys.executable, SCRIPTS / "healthcheck.py",
            **addresses, **key, GAITSTREAM_EVENTS_KEY=str(keys / "none.key"),
        )  # fmt: skip
    assert (alive.returncode, alive.stdout) == (0, "healthy\n")
    assert (without.returncode, wrong.returncode) == (1, 1)
    assert "does it ask for a key?" in without.stdout
    assert re.match(r"unhealthy: .*none\.key", wrong.stdout), wrong.stderr


def test_every_extra_with_cuda_core_brings_the_bindings_it_needs() -> None:
    """cuda-core itself asks for none: which ones fit is the driver's matter."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    with_core = [names for names in lists if any(name.startswith("cuda-core") for name in names)]
    assert len(with_core) >= 4
    assert all(any(name.startswith("cuda-bindings") for name in names) for names in with_core)

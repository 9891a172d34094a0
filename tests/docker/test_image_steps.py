"""Every step of the container images is a script; each is run here on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaitstream.events import Journal, Publisher

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "docker"


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
    done = run(SCRIPTS / "build-wheel.sh", out)
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


@pytest.mark.parametrize("flavour", ["cpu", "gpu", "build"])
def test_system_packages_are_listed(flavour: str) -> None:
    done = run(SCRIPTS / "install-system.sh", flavour, "--print")
    assert done.returncode == 0
    assert set(done.stdout.split()) & {"libgl1", "g++"}


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("install-system.sh", ["tpu"]),
        ("install.sh", ["{wheels}", "{tmp}", "tpu"]),
        ("build-kernels.sh", ["tpu"]),
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

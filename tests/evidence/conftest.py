"""A site after two runs: in the first everybody is a stranger, in the second one of them is enrolled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.runner import load_detector
from gaitstream.telemetry.stats import Snapshot
from tests.evidence.site import KeepingSite
from tests.pipeline.tiny import tiny_bundle


@dataclass
class Told:
    """What two runs left: the site, Ada's id, and the counters of the second run."""

    site: KeepingSite
    ada: str
    snapshot: Snapshot


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("tiny")).root


@pytest.fixture(scope="session")
def _told(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Told]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("user")))
        site = KeepingSite(tmp_path_factory.mktemp("site"), bundle)
        site.write()
        site.gallery().close()
        detector, encoder = load_detector(site.config), Encoder.load(site.config)
        site.run(detector=detector, encoder=encoder)
        longest = max(site.finals(), key=lambda event: event.windows)
        ada = site.enrol_from(longest, "Ada Lovelace")
        snapshot = site.run(detector=detector, encoder=encoder)
        yield Told(site, ada, snapshot)
        detector.close()
        encoder.close()


@pytest.fixture
def told(_told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """A copy of it for each test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    folder = tmp_path / "site"
    shutil.copytree(_told.site.folder, folder)
    return Told(KeepingSite(folder, _told.site._bundle), _told.ada, _told.snapshot)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of this test, short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="gs-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)

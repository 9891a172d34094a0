"""A small site whose run keeps evidence: synthetic people, the demo's models, a tiny recognizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.events import IdentityFinal
from gaitstream.events.codec import decode
from gaitstream.events.reading import Reader
from gaitstream.events.schema import Identity
from gaitstream.evidence.observing import open_observers
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.evidence.records import TrackEvidence
from gaitstream.gallery import Gallery
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.publish import open_publisher
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Snapshot

MODEL = "gaitheat"


class KeepingSite:
    """A folder with a cams.yaml, and what its runs leave there."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder = folder
        self.path = folder / "cams.yaml"
        self._bundle = bundle

    def write(self, *cameras: str, people: int = 2, seconds: float = 8, **sections: Any) -> None:
        """Write the file; every camera shows the same people."""
        url = f"synth://corridor?people={people}&fps=8&seconds={seconds:g}&seed=3"
        content = {
            "cameras": [{"id": name, "url": url, "fps": 8} for name in cameras or ("gate",)],
            "models": {"detector": "demo", "pose": "demo", MODEL: f"{self._bundle}/"},
            "tracklets": {"length": 10, "stride": 5, "provisional_from": 5},
            "quality": {"min_sharpness": 0, "min_motion": 0, "min_height_px": 24, "min_pose_score": 0},
            "gallery": {"path": "people.gallery", "threshold": 0.2, "margin": 0.0},
            "events": {"endpoint": "tcp://127.0.0.1:0"},
            "evidence": {"keep": True, "pictures": 8, "minutes": 5},
            "runtime": {"threads": 1},
            **sections,
        }
        self.path.write_text(yaml.safe_dump(content))

    @property
    def config(self) -> Config:
        return load_config(self.path)

    @property
    def reader(self) -> EvidenceReader:
        return EvidenceReader.open(self.config, self.path)

    def gallery(self) -> Gallery:
        return Gallery(self.folder / "people.gallery", create=True)

    def run(self, **models: Any) -> Snapshot:
        """Run until the cameras have ended."""
        options = RunOptions(config=self.path)
        observers = open_observers(options, self.config)
        with open_publisher(self.config, self.path) as publisher:
            pipeline = Pipeline(self.config, sink=publisher, observers=observers, **models)
            with pipeline:
                pipeline.run()
        return pipeline.snapshot()

    def events(self) -> list[Identity]:
        """All identity events of the journal."""
        reader, found = Reader(self.folder / "cams.journal"), []
        while True:
            piece = reader.read()
            found += [decode(record.payload) for record in piece.records]
            if piece.end:
                return [event for event in found if isinstance(event, Identity)]

    def finals(self, **fields: Any) -> list[IdentityFinal]:
        """The last words on tracks, with these fields."""
        return [
            event
            for event in self.events()
            if isinstance(event, IdentityFinal) and all(getattr(event, k) == v for k, v in fields.items())
        ]

    def evidence(self, event: Identity) -> TrackEvidence:
        found = self.reader.of(event)
        assert found is not None
        return found

    def enrol_from(self, event: Identity, name: str) -> str:
        """Enrol whoever an event is about, as they walk on another day; the id that they get."""
        evidence, rng = self.evidence(event), np.random.default_rng(1)
        with self.gallery() as gallery:
            for number in evidence.decisions[-1].used:
                parts = self.reader.embedding(evidence, number)
                other = parts + rng.normal(scale=1e-3, size=parts.shape).astype(np.float32)
                gallery.enroll(name, MODEL, evidence.models[MODEL], other[None])
            with gallery.store.reading() as reading:
                return gallery.person(reading, name)[0]

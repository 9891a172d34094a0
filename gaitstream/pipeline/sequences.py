"""Videos of one person each as walking sequences: found and looked at as in a run, embedded at once."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from gaitstream.config.camera_sections import Camera
from gaitstream.config.models_section import RecognizerModel, SegmenterSection
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.data import Floats
from gaitstream.engines.cache import file_sha256
from gaitstream.errors import SourceError
from gaitstream.models.bundle import Bundle
from gaitstream.models.detector_layouts import DetectorContract
from gaitstream.models.manifest import InputKind
from gaitstream.models.pose import PoseContract
from gaitstream.models.resolve import find_network, quantised_beside
from gaitstream.models.segmenter import SegmenterContract
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.enroll import CAMERA, Walk, watch
from gaitstream.pipeline.runner import load_detector

log = logging.getLogger(__name__)

MOST_FRAMES = 720
"""Of a sequence, as in the published evaluations; a window takes no more."""
DEMO = "demo"
GAP_S = 3600.0
"""A sequence goes on whatever was no evidence in between."""
BESIDE = 0.5
"""Share of the time in which a person is seen from which on somebody else may be the one who is meant."""


class VideoSequences:
    """Embeds whole videos with one bundle.

    Args:
        bundle: its directory.
        site: a `cams.yaml` whose models, tracking and quality find people; the packaged models when None.
        runtime: see `Recognizer.load`.
        precision: likewise.
        threads: CPU threads of each engine.
        frames: of a sequence at most, the first ones, and no more than `MOST_FRAMES`.

    Raises:
        ConfigError: the site's file is wrong, or lacks a model that the bundle needs.
        BundleError: the bundle is damaged.
    """

    def __init__(
        self,
        bundle: Path,
        site: Path | None = None,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        frames: int | None = None,
    ) -> None:
        self._asked = frames or sys.maxsize
        self._config = _config(bundle, site, runtime, precision, threads, min(self._asked, MOST_FRAMES))
        self._detector = load_detector(self._config)
        self._encoder = Encoder.load(self._config)

    def embed(self, video: Path) -> Floats:
        """The embedding of the person seen longest, `[parts, dim]`.

        Raises:
            SourceError: the video cannot be read, or shows nobody walking.
        """
        camera = Camera.model_validate({"id": CAMERA, "url": str(video), "fps": None})
        seen = watch(self._config, camera, match=False, detector=self._detector, encoder=self._encoder)
        usable = [walk for walk in seen.walks if walk.usable]
        if not usable:
            raise SourceError(
                f"{video} shows nobody whose walk could be embedded, so take it out of the data set, or name "
                f"models that find the person with --cameras: {_why(seen.walks) or seen.why_none}"
            )
        longest = max(usable, key=lambda walk: walk.seconds)
        self._tell_doubts(video, longest, usable)
        (model,) = self._encoder.recognizers
        return longest.embeddings[model][0]

    def _tell_doubts(self, video: Path, taken: Walk, walks: Sequence[Walk]) -> None:
        """Say where somebody else may be meant, and where less is embedded than was asked for."""
        beside = sum(walk.seconds_beside(taken) > BESIDE * taken.seconds for walk in walks) - 1
        if beside > 0:
            log.warning(
                "%s shows %d people at a time; the one seen longest is taken, %.1f s: where somebody else is "
                "meant, cut the video to that person",
                *(video, beside + 1, taken.seconds),
            )
        frames = taken.decision.frames if taken.decision else 0
        if frames > MOST_FRAMES < self._asked:
            log.warning("%s: the first %d of %d frames are embedded, no more", video, MOST_FRAMES, frames)

    def close(self) -> None:
        """Free the engines."""
        self._encoder.close()
        self._detector.close()


def fingerprint(bundle: Path, site: Path | None = None) -> str:
    """What the models are that find people for a bundle, by their content, in hexadecimal.

    Raises:
        ConfigError: the site's file is wrong, or a model is not there.
        BundleError: the bundle is damaged.
    """
    needs = Bundle.open(bundle).manifest.needs
    models = (load_config(site) if site is not None else _packaged(needs)).models
    pose = models.pose.model if models.pose is not None else DEMO
    networks: list[tuple[Path, DetectorContract | PoseContract | SegmenterContract | None]] = [
        find_network(models.detector.model, "detector", DetectorContract),
        find_network(pose, "pose", PoseContract),
    ]
    if models.segmenter is not None and InputKind.SILHOUETTE in needs:
        networks.append(find_network(models.segmenter.model, "segmenter", SegmenterContract))
    digest = hashlib.sha256()
    for graph, contract in networks:
        smaller = quantised_beside(graph, contract.int8) if contract is not None else None
        for file in filter(None, (graph, smaller)):
            digest.update(file_sha256(file).encode())
        digest.update(repr(contract).encode())
    return digest.hexdigest()


def _config(
    bundle: Path, site: Path | None, runtime: str, precision: str, threads: int | None, frames: int
) -> Config:
    manifest = Bundle.open(bundle).manifest
    found = load_config(site) if site is not None else _packaged(manifest.needs)
    recognizers = {manifest.model: RecognizerModel(model=str(bundle))}
    return found.model_copy(
        update={
            "models": found.models.model_copy(update={"recognizers": recognizers}),
            "runtime": found.runtime.model_copy(
                update={"name": runtime, "precision": precision, "threads": threads}
            ),
            "tracklets": found.tracklets.model_copy(
                update={
                    "length": frames,
                    "stride": frames,
                    "provisional_from": 1,
                    "max_gap_s": GAP_S,
                    "every": 1,
                    "settled_every": 1,
                }
            ),
        }
    )


def _packaged(needs: frozenset[InputKind]) -> Config:
    """The packaged models, which know the synthetic world alone."""
    plain = Config.model_validate({"cameras": [{"id": CAMERA, "url": "synth://plaza"}]})
    if InputKind.SILHOUETTE not in needs:
        return plain
    segmenter = SegmenterSection(model=DEMO)
    return plain.model_copy(update={"models": plain.models.model_copy(update={"segmenter": segmenter})})


def _why(walks: Sequence[Walk]) -> str:
    """What was said of the tracks; empty where there were none."""
    said = {walk.decision.reason.value for walk in walks if walk.decision and walk.decision.reason}
    return ", ".join(sorted(said)) or ("nothing was evidence" if walks else "")

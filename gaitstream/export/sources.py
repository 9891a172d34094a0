"""Where the inputs come from that precisions are calibrated with and judged by.

A file, the synthetic world, or a video. What calibrates is never among what is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import ConfigError, ExportError, SourceError
from gaitstream.export.calibration import LabelledCalibration, spread
from gaitstream.export.drawn import CALIBRATING, JUDGED, SOURCE, clip_rows, draw_walks, gather, graph_feeds
from gaitstream.models.bundle import Bundle
from gaitstream.models.pose import PoseModel
from gaitstream.models.segmenter import Segmenter
from gaitstream.pipeline.enroll import is_live, video_camera, watch
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.observe import Observer
from gaitstream.zoo import demo_family

SHARE = 4
"""One in so many of a file's people calibrates; the others are judged."""
MOST_PEOPLE, MOST_FRAMES, SEQUENCE_FRAMES = 16, 96, 6
"""People, frames in all and frames of a sequence that calibrate at most: more change no range much."""
EVERY = 5
"""A video's frames that are looked at: one in so many."""
STREAM_S = 300.0
"""For so long a stream is watched, which has no end."""
FEWEST = 8
"""Person-frames that a video has to show."""


@dataclass(frozen=True)
class Walks:
    """Inputs of a model.

    Attributes:
        calibrating: what ranges of activations are read from.
        judged: other people's sequences, by which accuracy is told.
    """

    calibrating: LabelledCalibration
    judged: LabelledCalibration


def read_judged(source: str | Path, bundle: Bundle) -> LabelledCalibration:
    """The labelled sequences of a source, all of them.

    Raises:
        ExportError: it is not there, damaged, does not fit the model, or names nobody.
    """
    require_names(source)
    return (
        draw_walks(bundle, JUDGED)
        if str(source) == SOURCE
        else LabelledCalibration.read(Path(source), bundle)
    )


def read_walks(source: str | Path, bundle: Bundle) -> Walks:
    """Inputs to calibrate with and, of other people, to judge by.

    Args:
        source: `synth`; an `.npz` file of labelled inputs, whose people are divided; or a video or stream,
            or a `cams.yaml` that names videos and the models to find people with. A video's people have no
            names, so that the synthetic world is judged.
        bundle: whose inputs are made.

    Raises:
        ExportError: the source is not there, damaged, does not fit the model, or shows too few people.
    """
    if str(source) == SOURCE:
        return Walks(draw_walks(bundle, CALIBRATING), draw_walks(bundle, JUDGED))
    require_source(source)
    path = Path(source)
    if _is_labelled(path):
        whole = bundle.manifest.shape == "clip"
        return divide(LabelledCalibration.read(path, bundle), whole=whole)
    return Walks(_of_video(str(source), bundle), draw_walks(bundle, JUDGED))


def require_source(source: str | Path) -> None:
    """Stop where a calibration source is a file that is not there.

    Raises:
        ExportError: it is.
    """
    if str(source) != SOURCE and "://" not in str(source) and not Path(source).exists():
        raise ExportError(
            f"there is no calibration source {source}: give 'synth', an .npz file of "
            "labelled inputs, a video, or a cams.yaml that names videos"
        )


def require_names(source: str | Path) -> None:
    """Stop where a calibration source cannot judge precisions, because it does not say who is who.

    Raises:
        ExportError: it is a video, or anything else without labels.
    """
    if str(source) != SOURCE and not _is_labelled(Path(source)):
        raise ExportError(
            f"{str(source)!r} names nobody, so that no precision can be judged by it: give 'synth' or an "
            ".npz file of labelled inputs; a video or a cams.yaml calibrates int8 and fp8 alone"
        )


def _is_labelled(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def divide(labelled: LabelledCalibration, *, whole: bool = False) -> Walks:
    """Let some people calibrate and the others be judged.

    Args:
        labelled: of all of them.
        whole: sequences calibrate with all their frames, as a clip graph needs them.

    Raises:
        ExportError: there are too few people for both.
    """
    people = np.unique(labelled.label)
    count = min(max(len(people) // SHARE, 1), MOST_PEOPLE)
    calibrating = people[:: max(len(people) // count, 1)][:count]
    judged = labelled.of_people(np.setdiff1d(people, calibrating))
    judged.check(f"{labelled.source} without the {count} of {len(people)} people who calibrate")
    count = int(np.isin(labelled.label, calibrating).sum())
    frames = None if whole else min(max(MOST_FRAMES // count, 1), SEQUENCE_FRAMES)
    return Walks(labelled.of_people(calibrating, frames), judged)


class _Looker(Observer):
    """Keeps frames in which somebody is fit to be looked at."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self._seen = 0

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Keep one in a few, so that poses differ."""
        fit = tuple(person for person in persons if person.rejected is None)
        self._seen += bool(fit)
        if fit and self._seen % EVERY == 1 and len(self.works) < 4 * MOST_FRAMES:
            self.works.append(Work(frame, fit))


def works_of_video(source: str) -> list[Work]:
    """Frames of a video, or of the videos of a `cams.yaml`, in which somebody is fit to be looked at.

    Raises:
        ExportError: it cannot be read, or shows too few people.
    """
    config = _config(source)
    looker = _Looker()
    try:
        for camera in config.cameras:
            seconds = STREAM_S if is_live(camera) else None
            watch(config, camera, match=False, seconds=seconds, observers=[looker])
    except (SourceError, ConfigError) as error:
        raise ExportError(f"cannot calibrate with {source}: {error}") from error
    works = [looker.works[index] for index in spread(np.arange(len(looker.works)), MOST_FRAMES)]
    count = sum(len(work.persons) for work in works)
    if count < FEWEST:
        raise ExportError(
            f"{source} shows {count} person-frames that are fit to be looked at, calibrating takes {FEWEST}: "
            "give a longer video, or a cams.yaml whose models.detector finds its people"
        )
    return works


def _of_video(source: str, bundle: Bundle) -> LabelledCalibration:
    """What is seen of the people of a video, each track a sequence of somebody."""
    works, models, manifest = works_of_video(source), _config(source).models, bundle.manifest
    tracks = np.array([f"{one.camera} {one.track}" for work in works for one in work.persons])
    pose = PoseModel.load(models.pose.model if models.pose else "demo") if manifest.needs_pose else None
    batch = gather(works, manifest, pose)
    if any(contract.kind == "silhouette" for contract in manifest.inputs):
        if models.segmenter is None:
            raise ExportError(
                f"{manifest.model} looks at silhouettes: give a cams.yaml that sets models.segmenter"
            )
        batch.find_masks(Segmenter.load(models.segmenter.model, layout=models.segmenter.layout))
    inputs = batch.inputs(manifest)
    names = np.unique(tracks)
    rows = [np.flatnonzero(tracks == name) for name in names]
    if manifest.clip is not None:
        rows = [mine[clip_rows(len(mine), manifest.clip)] for mine in rows]
    order = np.concatenate(rows)
    sequence = np.repeat(np.arange(len(names)), [len(mine) for mine in rows])
    feeds = graph_feeds(bundle, {name: array[order] for name, array in inputs.items()}, sequence)
    return LabelledCalibration("video", feeds, sequence, names)


def _config(source: str) -> Config:
    """A site of its own, or one camera with the packaged models."""
    if source.endswith((".yaml", ".yml")):
        return load_config(source)
    plain = Config.model_validate(
        {"cameras": [{"id": "video", "url": "synth://plaza"}], "models": {demo_family(): "demo"}}
    )
    return plain.model_copy(update={"cameras": [video_camera(plain, source)]})

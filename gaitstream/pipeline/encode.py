"""From persons to what the recognizers keep of them, in batches across cameras.

Who is still accepted is cut out, posed and segmented as far as any recognizer or the judge asks for it; then
each recognizer's frame graph runs, or its inputs are kept for the window's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gaitstream.config.schema import Config
from gaitstream.data import Feature, Person
from gaitstream.errors import ConfigError
from gaitstream.models.device_path import DeviceRows
from gaitstream.models.inputs import pack
from gaitstream.models.manifest import AlignmentContract, InputKind, Manifest
from gaitstream.models.on_device import DeviceEncoder
from gaitstream.models.pose import PoseModel
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import find_bundle
from gaitstream.models.segmenter import Segmenter
from gaitstream.pipeline.gather import Candidate, Gathering, Looks, Stopwatch, Work
from gaitstream.pipeline.judge import EvidenceJudge

PEOPLE_AT_ONCE = 64
"""On a CPU: four batches of the pose model. Whoever does not fill one costs a third more."""
LANES_AT_ONCE = 8
"""Batches of people a device is given before the first one's joints are waited for."""


@dataclass(slots=True)
class Encoded:
    """What came of a batch of works."""

    persons: list[tuple[Person, ...]]
    """Everybody, per work, with the final reason of those rejected."""
    features: list[Feature]
    """One per accepted person and recognizer, in the order of the works."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time by step: `crop`, `pose`, `keypoints`, `segment`, ..., and one per recognizer."""
    looks: list[Looks] = field(default_factory=list)
    """What the recognizers looked at beside the pixels, of the accepted persons."""


class Encoder:
    """Pixels, poses, masks and frame graphs for the accepted persons of many cameras; one thread at a time.

    Args:
        recognizers: by the name in the configuration.
        pose: the pose model, needed where a recognizer looks at poses; it also helps the judge.
        segmenter: the segmentation model, needed where a recognizer looks at silhouettes.
        on_device: keep heatmaps and features on the device where the engines can; the judge must not need
            features then.

    Attributes:
        recognizers: as given.
        pose: as given.
        segmenter: as given, None where no recognizer needs it.
        device: what works on poses without the host, where it is possible.

    Raises:
        ConfigError: a model is missing that a recognizer needs.
    """

    def __init__(
        self,
        recognizers: Mapping[str, Recognizer],
        pose: PoseModel | None = None,
        segmenter: Segmenter | None = None,
        *,
        on_device: bool = True,
    ) -> None:
        for name, recognizer in recognizers.items():
            manifest = recognizer.manifest
            if lacks := lacking(manifest, has_pose=pose is not None, has_masks=segmenter is not None):
                raise ConfigError(f"{name} {lacks}")
        self.recognizers = dict(recognizers)
        self.pose = pose
        self.segmenter = segmenter
        self.device = DeviceEncoder.where_possible(pose, recognizers) if on_device else None

    @classmethod
    def load(cls, config: Config) -> Encoder:
        """Open the recognizers of a configuration, and the other models that they need.

        Raises:
            ConfigError: a model is not there, or a bundle is of another family than its key says.
            BundleError: a bundle is damaged.
            EngineError: a graph does not compile.
        """
        runtime = config.runtime
        recognizers: dict[str, Recognizer] = {}
        for name, model in config.models.recognizers.items():
            bundle = find_bundle(model.model, family=config.models.family(name))
            recognizers[name] = Recognizer.load(
                bundle, runtime.name, runtime.precision, runtime.threads, stride=config.tracklets.stride,
                device=runtime.device,
            )  # fmt: skip
        manifests = [recognizer.manifest for recognizer in recognizers.values()]
        # A bundle's graphs say nothing of the other models: their own graphs and manifests decide.
        precision = "auto" if runtime.precision in ("fp16", "int8", "fp8") else runtime.precision
        options = (runtime.name, precision, runtime.threads)
        chosen = config.models.pose
        wanted = chosen.model if chosen else "demo" if any(one.needs_pose for one in manifests) else None
        pose = PoseModel.load(wanted, *options, device=runtime.device) if wanted is not None else None
        needed = any(InputKind.SILHOUETTE in one.needs for one in manifests)
        masks = config.models.segmenter if needed else None
        segmenter = (
            Segmenter.load(masks.model, *options, layout=masks.layout, device=runtime.device)
            if masks is not None
            else None
        )
        jumps = config.quality.max_feature_jump is not None  # judged by the features themselves
        return cls(recognizers, pose, segmenter, on_device=not jumps)

    def encode(self, works: Sequence[Work], judge: EvidenceJudge) -> Encoded:
        """Run the networks on everybody who is still accepted.

        Args:
            works: frames of any cameras; those of one camera in the order of their times.
            judge: has judged their boxes, and judges them on by what the networks find.
        """
        watch = Stopwatch()
        batch = Gathering(works, watch)
        with watch.time("crop"):
            pictures = list(batch.by_picture())
            batch.reject([why for image, seen in pictures for why in judge.judge_pixels(seen, image)])
        self._find_poses(batch, judge, watch)
        if self.segmenter is not None and batch.accepted:
            batch.reject(judge.judge_masks(batch.find_masks(self.segmenter)))
        if not batch.accepted:
            return Encoded(_judged(works, batch.everybody), [], watch.seconds)
        features, looks = self._features(batch, judge, watch)
        return Encoded(_judged(works, batch.everybody), features, watch.seconds, [looks])

    @property
    def people_at_once(self) -> int:
        """In one call at least, so that batches are full and a device is not left waiting."""
        return PEOPLE_AT_ONCE if self.device is None else LANES_AT_ONCE * self.device.people

    def prepare(self, people: int) -> None:
        """Have the engines ready for up to so many people at once, so that no frame waits for a compiler."""
        if self.device is None:
            for model in (*self.recognizers.values(), self.pose, self.segmenter):
                if model is not None:
                    model.prepare(people)

    def close(self) -> None:
        """Free the engines."""
        if self.device is not None:
            self.device.close()
        for model in (*self.recognizers.values(), self.pose, self.segmenter):
            if model is not None:
                model.close()

    def _find_poses(self, batch: Gathering, judge: EvidenceJudge, watch: Stopwatch) -> None:
        """Poses where there is a pose model; reject by pose and motion."""
        if self.pose is None or not batch.accepted:
            batch.reject(judge.judge_pose(batch.persons, None))
            return
        on_device = self.device
        joints = batch.find_poses(self.pose) if on_device is None else batch.find_poses_on(on_device)
        with watch.time("keypoints"):
            batch.reject(judge.judge_pose(batch.persons, joints))

    def _features(
        self, batch: Gathering, judge: EvidenceJudge, watch: Stopwatch
    ) -> tuple[list[Feature], Looks]:
        """What each recognizer keeps of everybody who is left, recognizer by recognizer, and looked at."""
        persons = batch.persons
        made: list[list[Feature]] = [[] for _ in persons]
        for name, recognizer in self.recognizers.items():
            rows, is_input = self._kept(name, recognizer, batch, watch)
            for own, person, row in zip(made, persons, rows, strict=True):
                own.append(Feature(name, person, row, is_input=is_input))
        looks = batch.looks(self._alignment)
        reasons = [judge.judge_features(own) for own in made]
        batch.reject(reasons)
        kept = [own for own, reason in zip(made, reasons, strict=True) if reason is None]
        return [own[number] for number in range(len(self.recognizers)) for own in kept], looks

    @property
    def _alignment(self) -> AlignmentContract | None:
        """How poses are turned upright: as the first recognizer does that looks at them."""
        contracts = (recognizer.manifest.alignment for recognizer in self.recognizers.values())
        return next(filter(None, contracts), None)

    def _kept(
        self, name: str, recognizer: Recognizer, batch: Gathering, watch: Stopwatch
    ) -> tuple[Iterable[Any], bool]:
        """What one recognizer keeps of everybody, a row each, and whether these are its inputs."""
        if self.device is not None and name in self.device and isinstance(batch.heatmaps, DeviceRows):
            return self.device.features(name, batch.heatmaps), False
        manifest = recognizer.manifest
        inputs = batch.inputs(manifest)
        if recognizer.frames is None or manifest.keeps == "inputs":
            return pack(manifest, inputs), True
        with watch.time(name):
            return recognizer.frames.encode(inputs), False


def lacking(manifest: Manifest, *, has_pose: bool, has_masks: bool) -> str:
    """Why a recognizer cannot run beside the models that there are, and what to set; empty where it can."""
    if manifest.needs_pose and not has_pose:
        return "works on poses: set models.pose to a pose model"
    if InputKind.REPRESENTATION in manifest.needs:
        return "works on pictures that only a data set has, no camera: run another recognizer"
    if InputKind.SILHOUETTE in manifest.needs and not has_masks:
        return "works on silhouettes: set models.segmenter to a segmentation model"
    return ""


def _judged(works: Sequence[Work], candidates: Sequence[Candidate]) -> list[tuple[Person, ...]]:
    """Everybody, per work, with the reasons that were found on the way."""
    persons = [list(work.persons) for work in works]
    for candidate in candidates:
        if candidate.reason is not None:
            persons[candidate.work][candidate.index] = replace(candidate.person, rejected=candidate.reason)
    return [tuple(one) for one in persons]

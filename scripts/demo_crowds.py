"""Crowds that the demo weights have never seen: rendered, found, posed and embedded as in the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gaitstream.models import silhouettes
from gaitstream.models.crops import crop_around
from gaitstream.models.detector import DetectorModel
from gaitstream.models.pose import PoseModel, keypoints, to_heatmap, to_image
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.segmenter import Segmenter
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import Pass, sample_camera, sample_pass

DEMO = Path(__file__).resolve().parents[1] / "gaitstream" / "zoo" / "demo"
SCENERIES = (
    Scenery("paving", "street", 13.0, 9.0),
    Scenery("tiles", "walls", 12.0, 8.0),
    Scenery("asphalt", "street", 15.0, 10.0),
)
CAMERAS, FRAMES = 4, 30
OUTLINE = (64, 44)
TRACKLETS = 3
"""Of every person before every camera, mostly."""


@dataclass
class Models:
    """The models, opened as the pipeline opens them."""

    detector: DetectorModel
    pose: PoseModel
    segmenter: Segmenter
    gait: Recognizer
    """On the pose model's heatmaps."""
    outline: Recognizer
    """On silhouettes."""

    @classmethod
    def load(cls, demo: Path) -> Models:
        """Open the weights in a folder, for one core."""
        return cls(
            DetectorModel.load(demo / "detector.json", threads=1),
            PoseModel.load(demo / "pose.json", threads=1),
            Segmenter.load(demo / "segmenter.json", threads=1),
            Recognizer.load(demo / "gaitheat", threads=1),
            Recognizer.load(demo / "gaitbase", threads=1),
        )


@dataclass
class Passes:
    """What walking past cameras gave."""

    embeddings: np.ndarray
    """Of the model on heatmaps, `[n, parts, dim]`."""
    outlines: np.ndarray
    """Of the model on silhouettes, likewise."""
    joints: np.ndarray
    """In pixels of the picture, for models on joints: `[n, FRAMES, 17, 3]`, NaN behind a tracklet's last."""
    people: np.ndarray
    cameras: np.ndarray
    turns: np.ndarray
    """Which of a person's tracklets before the camera it is."""
    joint_errors: np.ndarray
    """Of visible joints, in heatmap pixels `[m]`."""
    mask_overlaps: np.ndarray
    """Intersection over union of masks with true ones, a share `[k]`."""
    missed: float
    """Share of frames in which the detector did not find the person."""


@dataclass
class Look:
    """What detector and pose model made of one pass, frame by frame.

    Attributes:
        heatmaps: of the frames that are evidence of gait, `[n, 17, 64, 48]`.
        found: their joints in heatmap pixels, `[n, 17, 3]`.
        joints: the same in pixels of the picture.
        silhouettes: of the same frames, `[n, 1, 64, 44]`.
        errors: of visible joints of all frames with a detection, in heatmap pixels `[m]`.
        overlap: of the mask in the middle of the pass with the true one, intersection over union.
        missed: frames without a detection.
    """

    heatmaps: np.ndarray
    found: np.ndarray
    joints: np.ndarray
    silhouettes: np.ndarray
    errors: np.ndarray
    overlap: float
    missed: int


def found_in_pass(
    walked: Pass, renderer: Renderer, models: Models
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Render a pass: index, picture RGB uint8 `[h, w, 3]` and box `[1, 4]` where the person is found."""
    for index in range(len(walked.joints)):
        image = walked.picture(index, renderer)
        boxes = models.detector.detect([image])[0].boxes
        if not len(boxes):
            continue
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        wanted = (walked.boxes[index][:2] + walked.boxes[index][2:]) / 2
        yield index, image, boxes[np.linalg.norm(centre - wanted, axis=1).argmin()][None]


def crops_of_pass(
    walked: Pass, renderer: Renderer, models: Models
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Render a pass and cut the person out of every frame that shows one.

    Returns:
        Crops RGB uint8 `[3, 256, 192]`, and the true joints in heatmap pixels `[17, 3]`, of each such frame.
    """
    crops, truth = [], []
    for index, image, box in found_in_pass(walked, renderer, models):
        crops.append(models.pose.crop(image, box)[0])
        truth.append(to_heatmap(walked.keypoints[index][None], box)[0])
    return crops, truth


def look_at_pass(walked: Pass, renderer: Renderer, models: Models) -> Look:
    """Render a pass and find the person in every frame."""
    crops, cut, truth, found_at = [], [], [], []
    for index, image, box in found_in_pass(walked, renderer, models):
        crops.append(models.pose.crop(image, box)[0])
        cut.append(models.segmenter.crop(image, box)[0])
        found_at.append((index, box))
        truth.append(to_heatmap(walked.keypoints[index][None], box)[0])
    missed = len(walked.joints) - len(crops)
    if len(crops) < FRAMES // 2:
        return Look(*[np.empty(0)] * 5, np.nan, missed)
    heatmaps = models.pose.heatmaps(np.stack(crops))
    found, wanted = keypoints(heatmaps), np.stack(truth)
    errors = np.linalg.norm(found[..., :2] - wanted[..., :2], axis=-1)[wanted[..., 2] == 2]
    usable = models.gait.accepts(found)
    masks = models.segmenter.masks(np.stack(cut))
    outlines = silhouettes.draw(masks, OUTLINE)
    middle = len(masks) // 2
    overlap = mask_overlap(walked, *found_at[middle], masks[middle])
    joints = to_image(found, np.concatenate([box for _, box in found_at]))
    return Look(heatmaps[usable], found[usable], joints[usable], outlines[usable], errors, overlap, missed)


def mask_overlap(walked: Pass, index: int, box: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of a crop's mask with the true one."""
    whole = np.repeat(walked.mask(index)[..., None], 3, axis=2)
    true = crop_around(whole, box, mask.shape)[0, 0] > 127
    return float((true & (mask > 0)).sum() / max(1, (true | (mask > 0)).sum()))


def walk(demo: Path, seed: int, count: int, tracklets: int = TRACKLETS) -> Passes:
    """Everybody past every camera so many times, in other clothes before each."""
    cv2.setNumThreads(1)
    models = Models.load(demo)
    rng = np.random.default_rng([seed, 0, 0xE7])
    embeddings, outlines, joints, labels, errors, overlaps, missed, shown = [], [], [], [], [], [], 0, 0
    mounted = [sample_camera(rng) for _ in range(CAMERAS)]
    renderers = [Renderer(c, SCENERIES[i % 3], day=20 + i) for i, c in enumerate(mounted)]
    for person in range(count):
        for number, (camera, renderer) in enumerate(zip(mounted, renderers, strict=True)):
            look = sample_appearance(seed, person, 10 + number)
            for turn in range(tracklets):
                walked = sample_pass(sample_identity(seed, person), look, rng, FRAMES, camera)
                seen = look_at_pass(walked, renderer, models)
                errors.append(seen.errors)
                overlaps.append(seen.overlap)
                missed, shown = missed + seen.missed, shown + len(walked.joints)
                if len(seen.found) >= FRAMES // 2:
                    embeddings.append(models.gait.embed(seen.heatmaps, seen.found))
                    outlines.append(models.outline.embed(seen.silhouettes))
                    behind = ((0, FRAMES - len(seen.joints)), (0, 0), (0, 0))
                    joints.append(np.pad(seen.joints, behind, constant_values=np.nan))
                    labels.append((person, number, turn))
        if person % 10 == 9:
            print(f"{person + 1} of {count} people", flush=True)
    people, cameras, turns = np.array(labels).T
    return Passes(
        np.stack(embeddings),
        np.stack(outlines),
        np.stack(joints),
        people,
        cameras,
        turns,
        np.concatenate(errors),
        np.array(overlaps),
        missed / shown,
    )

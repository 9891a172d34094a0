"""What a configuration names, looked up before it is put to work: models, files, and every camera once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.paths import is_there
from gaitstream.config.reading import Document, Location, name
from gaitstream.config.schema import Config
from gaitstream.data import Image, Person, Reason
from gaitstream.errors import ConfigError, GaitstreamError
from gaitstream.models.resolve import find_bundle, is_path, resolve
from gaitstream.pipeline.encode import lacking
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.quality import Regions
from gaitstream.pipeline.runner import load_detector
from gaitstream.pipeline.source.base import scale_down
from gaitstream.pipeline.source.select import create_source
from gaitstream.synth.address import parse_address
from gaitstream.synth.world import find_site
from gaitstream.zoo import Kind

_NETWORKS: dict[str, Kind] = {"detector": "detector", "pose": "pose", "segmenter": "segmenter"}
"""Keys of `models` that are no recognizers."""


def missing(path: Path, config: Config, *, cameras: bool = True) -> list[str]:
    """What the file names and is not there, as `load_config` would say it.

    Args:
        path: the file that `config` was read from.
        config: what it says.
        cameras: also look at the cameras' URLs; `probe` finds more.

    Returns:
        A line per problem, in the order of the file's lines: file, line, key, what is wrong and what to do.
    """
    document = Document.read(path)
    found = [*_models(document, config), *_gallery(config), *(_cameras(config) if cameras else ())]
    lines = [(document.node(at)[1], at, text) for at, text in found]
    return [f"{path}:{line}: {name(at)}: {text}" for line, at, text in sorted(lines, key=lambda one: one[0])]


def _models(document: Document, config: Config) -> Iterator[tuple[Location, str]]:
    """Names that the model zoo does not know, bundles that are none, and models that need another one.

    `load_config` has looked for the paths.
    """
    for at, value in document.models(config):
        key = str(at[-2])
        try:
            if key not in _NETWORKS:
                bundle = find_bundle(value, family=config.models.family(key), verify=False)
                # A recognizer on poses that has no pose model gets the packaged one.
                has_masks = config.models.segmenter is not None
                if lacks := lacking(bundle.manifest, has_pose=True, has_masks=has_masks):
                    yield at, f"{key} {lacks}"
            elif not is_path(value):
                resolve(value, _NETWORKS[key])
        except GaitstreamError as error:
            yield at, str(error)


def _gallery(config: Config) -> Iterator[tuple[Location, str]]:
    """A gallery that does not exist is none of them: enrolling makes it."""
    path = config.gallery.path
    if path is not None and is_there(path) and not path.is_file():
        yield ("gallery", "path"), f"{path} is no file; give the gallery's file, such as people.gallery"


def _cameras(config: Config) -> Iterator[tuple[Location, str]]:
    for index, camera in enumerate(config.cameras):
        at = ("cameras", index, "url")
        if not camera.enabled:
            continue
        try:
            _check_url(camera, config.sources)
        except GaitstreamError as error:
            yield at, camera.url.scrub(str(error))


def _check_url(camera: Camera, sources: Sources) -> None:
    """Raise GaitstreamError for a URL that cannot be right, without connecting to anybody."""
    create_source(camera, sources)
    if camera.url.scheme == "synth":
        find_site(parse_address(camera.url.reveal()).site)
    elif not camera.url.scheme and not is_there(Path(camera.url.reveal())):
        raise ConfigError(
            f"{camera.url} does not exist; give a file, folder or device that exists (paths are relative to "
            "the configuration), a camera's URL, or enabled: false"
        )


@dataclass(frozen=True)
class CameraAnswer:
    """What one camera answered."""

    camera: str
    size: tuple[int, int] | None
    """Width and height, None when no picture came."""
    problem: str
    """Empty when all is well; never holds credentials."""
    image: Image | None = None
    """The picture, BGR uint8 `[height, width, 3]`."""


def probe(config: Config) -> list[CameraAnswer]:
    """Read one picture of every enabled camera and lay its regions on it."""
    return [probe_camera(camera, config.sources) for camera in config.cameras if camera.enabled]


def probe_camera(camera: Camera, sources: Sources) -> CameraAnswer:
    """Read one picture of a camera and lay its regions on it."""
    size, image = None, None
    source = None
    try:
        source = create_source(camera, sources)
        source.open()
        picture = source.read()
        if picture is not None:
            image = scale_down(picture.to_image(), camera.max_height)
            size = (image.shape[1], image.shape[0])
            Regions(camera, size)
    except GaitstreamError as error:
        return CameraAnswer(camera.id, size, camera.url.scrub(str(error)), image)
    finally:
        if source is not None:
            source.close()
    return CameraAnswer(camera.id, size, "" if size else f"{camera.url}: holds no picture", image)


@dataclass(frozen=True)
class SeenPerson:
    """Somebody in one picture: where, how sure the detector is, and what speaks against the evidence."""

    box: tuple[float, float, float, float]
    score: float
    reason: Reason | None


def judge_picture(config: Config, camera: Camera, image: Image) -> list[SeenPerson]:
    """Who would be detected in one picture of a camera, and who of them would be rejected, and why.

    Args:
        config: names the detector and the limits; `camera` need not be in it.
        camera: its regions and thresholds count.
        image: BGR uint8 `[height, width, 3]`.
    """
    own = config.model_copy(update={"cameras": [camera]})
    detector = load_detector(own)
    try:
        [found] = detector.detect([image], own.detection_score(camera))
    finally:
        detector.close()
    persons = [
        Person(camera.id, number, 0, 0, box, float(score))
        for number, (box, score) in enumerate(zip(found.boxes, found.scores, strict=True))
    ]
    judge = EvidenceJudge(own)
    judged = judge.judge_boxes(camera.id, (image.shape[1], image.shape[0]), persons)
    pixels = judge.judge_pixels(judged, image)
    return [
        SeenPerson(_corners(one), one.score, one.rejected or reason)
        for one, reason in zip(judged, pixels, strict=True)
    ]


def _corners(person: Person) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(float, person.box)
    return left, top, right, bottom

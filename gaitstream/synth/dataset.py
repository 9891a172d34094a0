"""Writes a stretch of the synthetic world to disk: videos, `cams.yaml`, ground truth.

    DIR/cams.yaml                    the cameras, ready for `gaitstream run --cameras DIR/cams.yaml`
    DIR/identities.json              who is there: body, gait and clothes, by MOT id
    DIR/CAMERA.mp4                   the video
    DIR/CAMERA/seqinfo.ini           MOT challenge sequence description
    DIR/CAMERA/gt/gt.txt             MOT challenge ground truth
    DIR/CAMERA/gt/keypoints.jsonl    COCO keypoints, walking or standing
    DIR/CAMERA/camera.json           pinhole parameters

An id is the same person on every camera. Frames and ids count from 1, as in the MOT challenge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import av
import numpy as np
import yaml
from numpy.typing import NDArray

from gaitstream.errors import SourceError
from gaitstream.synth.address import Address
from gaitstream.synth.source import SyntheticCamera
from gaitstream.synth.truth import Truth
from gaitstream.zoo import demo_family

CODECS = ("libx264", "libopenh264", "mpeg4")
"""Encoders in order of preference."""
IDENTITIES = "identities.json"


def write_dataset(
    addresses: Sequence[Address], root: Path, say: Callable[[str, int, int], None] = lambda *_: None
) -> Path:
    """Write one video with ground truth per address.

    Args:
        addresses: cameras of one world; each needs `seconds`.
        root: directory to fill; made when missing.
        say: called with camera name, frames done and frames in all.

    Returns:
        The path of `cams.yaml`.

    Raises:
        SourceError: an address has no `seconds`, there are none, no video encoder is there, or the directory
            cannot be written or holds a `cams.yaml` that is no dataset's.
    """
    if not addresses or any(address.seconds is None for address in addresses):
        raise SourceError("a dataset needs at least one camera and an end: give every address 'seconds'")
    if (root / "cams.yaml").exists() and not (root / IDENTITIES).exists():
        raise SourceError(
            f"{root} holds a cams.yaml of your own, which would be lost: give another directory"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _fill(addresses, root, say)
    except OSError as error:
        raise SourceError(f"{root} cannot be filled ({error}): give a directory with room") from error


def _fill(addresses: Sequence[Address], root: Path, say: Callable[[str, int, int], None]) -> Path:
    # The video encoder compresses; doing it twice would only cost time.
    cameras = [SyntheticCamera(replace(address, quality=0)) for address in addresses]
    # An earlier dataset's, which would stay beside other videos and people where this is interrupted.
    for name in ("cams.yaml", IDENTITIES):
        (root / name).unlink(missing_ok=True)
    for camera in cameras:
        _write_camera(camera, root, say)
    identities = [
        {"id": index + 1, **asdict(walker.identity), "appearance": asdict(walker.appearance)}
        for index, walker in zip(cameras[0].world.indices, cameras[0].world.walkers, strict=True)
    ]
    (root / IDENTITIES).write_text(json.dumps(identities, indent=2) + "\n", encoding="utf-8")
    path = root / "cams.yaml"
    path.write_text(_cams_yaml(cameras), encoding="utf-8")
    return path


def mot_lines(truth: Truth, frame: int) -> list[str]:
    """Rows of a MOT challenge `gt.txt`: frame, id, left, top, width, height, 1, class 1, visibility.

    Left and top count from 1 as in the MOT challenge. Boxes go around the whole body, whatever hides it.
    """
    rows = []
    for person, box, seen in zip(truth.people, truth.boxes, truth.visibility, strict=True):
        left, top, right, bottom = (float(value) for value in box)
        size = f"{right - left:.2f},{bottom - top:.2f}"
        rows.append(f"{frame},{int(person) + 1},{left + 1:.2f},{top + 1:.2f},{size},1,1,{float(seen):.3f}")
    return rows


class VideoWriter:
    """An MP4 file, H.264 where the encoder is there."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        codec = _codec()
        stream = self._container.add_stream(codec, rate=rate)
        if not isinstance(stream, av.VideoStream):
            raise SourceError(f"{codec} is no video encoder")
        self._stream = stream
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "24", "preset": "veryfast"} if codec == "libx264" else {}
        if codec != "libx264":
            self._stream.bit_rate = max(400_000, int(width * height * fps * 0.25))
        self._frames = 0

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append a picture, BGR uint8."""
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts = self._frames
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_camera(camera: SyntheticCamera, root: Path, say: Callable[[str, int, int], None]) -> None:
    name = camera.camera.name
    truth_dir = root / name / "gt"
    truth_dir.mkdir(parents=True, exist_ok=True)
    total = max(1, round((camera.address.seconds or 0) * camera.fps))
    with (
        VideoWriter(root / f"{name}.mp4", camera.width, camera.height, camera.fps) as video,
        (truth_dir / "gt.txt").open("w", encoding="utf-8") as boxes,
        (truth_dir / "keypoints.jsonl").open("w", encoding="utf-8") as keypoints,
    ):
        frame = 0
        while (shot := camera.read()) is not None:
            frame += 1
            _, image, truth = shot
            video.write(image)
            boxes.writelines(f"{line}\n" for line in mot_lines(truth, frame))
            _write_keypoints(truth, frame, keypoints)
            say(name, frame, total)
    (root / name / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nimDir=../{name}.mp4\nframeRate={camera.fps:g}\nseqLength={total}\n"
        f"imWidth={camera.width}\nimHeight={camera.height}\nimExt=.mp4\n",
        encoding="utf-8",
    )
    pinhole = {**asdict(camera.camera), "focal_px": camera.camera.focal_px}
    (root / name / "camera.json").write_text(json.dumps(pinhole, indent=2) + "\n", encoding="utf-8")


def _write_keypoints(truth: Truth, frame: int, file: TextIO) -> None:
    for index, person in enumerate(truth.people):
        row = {
            "frame": frame,
            "id": int(person) + 1,
            "time_ns": truth.time_ns,
            "walking": bool(truth.walking[index]),
            "depth_m": round(float(truth.depth_m[index]), 3),
            "keypoints": np.round(truth.keypoints[index].astype(np.float64), 2).tolist(),
        }
        file.write(json.dumps(row) + "\n")


def _cams_yaml(cameras: Sequence[SyntheticCamera]) -> str:
    entries: list[dict[str, Any]] = []
    for camera in cameras:
        start = datetime.fromtimestamp(camera.time_ns(0) / 1e9, UTC)
        entries.append(
            {
                "id": camera.camera.name,
                "url": f"{camera.camera.name}.mp4",
                "fps": camera.fps,
                "start_time": start.isoformat(),
            }
        )
    text: str = yaml.safe_dump({"cameras": entries, "models": {demo_family(): "demo"}}, sort_keys=False)
    return text


def _codec() -> str:
    for name in CODECS:
        try:
            av.Codec(name, "w")
        except ValueError:
            continue
        return name
    raise SourceError(f"this FFmpeg has none of the encoders {', '.join(CODECS)}: install PyAV from PyPI")

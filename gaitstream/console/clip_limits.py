"""What an uploaded clip may be, looked at before anything of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from gaitstream.errors import ConsoleError

LONGEST_S = 120.0
MOST_FRAMES = 7200
"""Two minutes of 60 a second, counted, whatever the file says of itself."""
MOST_PIXELS = 4096 * 2304
"""Of one frame."""
CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "msmpeg4v3", "mjpeg", "h263")
"""What cameras, phones and recorders write; the hundreds of other decoders are not reached by strangers."""
LARGEST_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 16


@dataclass(frozen=True)
class ClipFacts:
    """A clip as its container tells it."""

    format: str
    width: int
    height: int
    frames: int


def check_clip(path: Path) -> ClipFacts:
    """See that a file is a video of a kind and size that is taken.

    Containers that name other files (playlists, concatenations) never get as far as the demuxer.

    Raises:
        ConsoleError: it is not; the message says what is allowed.
    """
    format_ = _container(path)
    try:
        with av.open(str(path), format=format_, options={"protocol_whitelist": "file"}) as container:
            return _facts(container, format_)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise ConsoleError(f"the clip cannot be read as {format_}: {error}") from error


def _container(path: Path) -> str:
    """The demuxer for a file, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == b"ftyp":
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    raise ConsoleError("the clip is no video that is taken; send MP4, MOV, MKV, WebM or AVI")


def _facts(container: av.container.InputContainer, format_: str) -> ClipFacts:
    if not container.streams.video:
        raise ConsoleError("the clip has no pictures in it")
    stream = container.streams.video[0]
    codec = stream.codec_context
    if codec is None:
        raise ConsoleError("the clip's pictures are coded in a way that is not known here")
    if codec.codec.canonical_name not in CODECS:
        raise ConsoleError(
            f"the clip's pictures are coded as {codec.codec.canonical_name}; send it as H.264 in MP4, say "
            f"(taken are {', '.join(CODECS)})"
        )
    width, height = codec.width, codec.height
    if not 0 < width * height <= MOST_PIXELS:
        raise ConsoleError(
            f"the clip's pictures are {width} x {height}; at most {MOST_PIXELS:,} pixels are taken: make it "
            "smaller"
        )
    frames = 0
    first_s: float | None = None
    for packet in container.demux(stream):
        if packet.size == 0 or packet.pts is None or packet.time_base is None:
            continue
        frames += 1
        time_s = float(packet.pts * packet.time_base)
        first_s = time_s if first_s is None else min(first_s, time_s)
        if frames > MOST_FRAMES or time_s - first_s > LONGEST_S:
            raise ConsoleError(
                f"the clip is too long: {LONGEST_S:.0f} s and {MOST_FRAMES} frames are taken; cut it"
            )
    if not frames:
        raise ConsoleError("the clip has no pictures in it")
    return ClipFacts(format_, width, height, frames)

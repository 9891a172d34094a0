"""Video through PyAV: RTSP and RTSPS, HTTP and HLS, USB cameras, files."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import struct
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.fields import aspect_ratio, is_pixel_aspect
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Image
from gaitstream.errors import SourceError
from gaitstream.pipeline.source.base import (
    CameraRefusedError,
    Picture,
    scale_down,
    scaled_size,
    shown_size,
)
from gaitstream.pipeline.source.clock import SECOND_NS, CaptureClock, file_start_ns, is_plausible
from gaitstream.pipeline.source.fields import LARGEST, smooth_combs
from gaitstream.pipeline.source.host import unknown_host
from gaitstream.pipeline.source.showing import ShowingOrder
from gaitstream.pipeline.source.sparing import Sparing

if TYPE_CHECKING:
    import av
    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter

log = logging.getLogger(__name__)

DEVICES = "/dev/video"
NETWORK = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")
MOST_GAP_NS = 24 * 3600 * SECOND_NS
"""A larger leap of a file's timestamps is damage, not a pause of the recording."""
MOST_LAG_NS = SECOND_NS
"""A file whose timestamps go back by more begins again; by less, its pictures are a little late."""
UNTIMED = ("mpjpeg",)
"""Formats whose timestamps FFmpeg makes up: pictures that a web camera sends one after the other."""
STATING = ("mov", "matroska", "avi", "flv")
"""Formats whose files state their length; of others FFmpeg guesses it from what is there."""
FROM_ZERO = ("matroska", "nut")
"""Formats in which a file's length counts from zero, whatever its timestamps begin with."""
MOST_MISSING = 1.0, 0.02
"""Seconds, and share of a file's stated length, that its pictures may lack: sound often ends later."""
BOX_HEAD = struct.Struct(">I4sQ")
"""Of a box in an MP4 file: its size, its kind, and a longer size, where the first is 1."""
JOINED = ("mpegts", "flv")
"""Formats whose files may be joined, and then hold pictures that are not read."""
MOST_LEFT = 0.1
"""Share of such a file that may lie behind its last picture."""
RATES = (1e-3, 1e3)
"""Frame rates that a stream may claim; by others nothing is reckoned."""


def is_remote(url: SecretUrl) -> bool:
    """Whether FFmpeg reads it from a network or a device, and not from a file."""
    return url.scheme in NETWORK or url.reveal().startswith(DEVICES)


def boxes_of(path: Path) -> Iterator[bytes]:
    """Kinds of the boxes of which an MP4 file consists, such as `ftyp`, `moov` and `mdat`."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end, at = path.stat().st_size, 0
        while at + BOX_HEAD.size <= end:
            file.seek(at)
            size, kind, long_size = BOX_HEAD.unpack(file.read(BOX_HEAD.size))
            yield kind
            size = {0: end - at, 1: long_size}.get(size, size)
            if size < 8:
                return
            at += size


class VideoSource:
    """One video stream.

    Attributes:
        live: network and USB cameras; HTTP only when the stream has no duration.
        corrupt: packets and frames that could not be decoded, and timestamps that cannot be right.
        needed: whether a picture of a time may be looked at, with so much time between two. Of the others the
            decoder leaves out those that no other picture is made from.
        passed: pictures that were left out like that, and come before the last one read.
        missing_s: by how much a file that has ended is shorter than it says.
        unread: share of such a file behind the last picture of the stream that was read, where that is odd.
        capture_clock: how stream times of a live source become UTC.
    """

    def __init__(
        self,
        camera: Camera,
        sources: Sources,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.corrupt = 0
        self.passed = 0
        self.missing_s = self.unread = 0.0
        self.needed: Callable[[int, int], bool] = lambda _time_ns, _spacing_ns: True
        self.capture_clock = CaptureClock()
        self._camera = camera
        self._sources = sources
        self._clock_ns = clock_ns
        self._steady_ns = steady_ns
        self._container: InputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._reformatter: VideoReformatter | None = None
        self._start_ns = 0
        self._last_ns = self._last_pts_ns = 0
        self._last_pts: int | None = None
        self._offset_ns: int | None = None
        """From stream time to capture time, of the last picture."""
        self._timed = False
        """Whether a picture came with a time of its own since `open`."""
        self._sparing = Sparing()
        self._order = ShowingOrder()
        self._told = False
        self._told_leap = False
        self._container_aspect: Fraction | None = None
        """Of a pixel, where the container says something else than the stream in it."""
        self._aspect = Fraction(1)
        """Of a pixel, as it was stated with the last picture."""
        self._next_index = 0
        self._read_from, self._read_to = math.inf, -math.inf
        """Of the packets so far, in the stream's units of time."""
        self._read_bytes = 0
        """Where in the file the last of them lies."""
        self.live = self._is_remote()

    def open(self) -> None:
        """Connect and find the video stream.

        Raises:
            CameraRefusedError: wrong or missing credentials.
            SourceError: no such file, not a video, nobody answers, no video stream in it.
        """
        import av
        from av.video.reformatter import VideoReformatter

        self.close()
        url = self._camera.url
        if not url.scheme:
            _check_file(url)
        try:
            self._container = av.open(
                # A relative path may begin like a protocol: 12:30:00.mp4.
                url.reveal() if url.scheme else str(Path(url.reveal()).absolute()),
                format="v4l2" if url.reveal().startswith(DEVICES) else None,
                options=self._options(),
                metadata_errors="replace",
                timeout=(self._sources.connect_s, self._sources.stall_s) if self._is_remote() else None,
                hwaccel=self._hwaccel(),
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._explain(error, "cannot be opened") from None
        self._stream = best_stream(self._container)
        if self._stream is None:
            self.close()
            raise SourceError(f"{url}: holds no video stream; give a video or a camera")
        self.live = self._is_remote() and not (url.scheme.startswith("http") and self._container.duration)
        self.capture_clock = CaptureClock()
        self._reformatter = VideoReformatter()
        self._start_ns = 0 if self.live else self._file_start_ns()
        self._last_ns = self._last_pts_ns = 0
        self._next_index = 0
        self._last_pts = self._offset_ns = None
        self._timed = False
        self.missing_s = self.unread = 0.0
        self._read_from, self._read_to = math.inf, -math.inf
        self._read_bytes = 0
        self._sparing = Sparing()
        self._order = ShowingOrder()
        stated, own = self._stream.sample_aspect_ratio, self._stream.codec_context.sample_aspect_ratio
        self._container_aspect = stated if stated != own else None
        self._aspect = Fraction(1)
        self._frames = self._decode(self._container, self._stream)

    def read(self) -> Picture | None:
        """The next picture.

        Raises:
            SourceError: the stream broke off or froze; a file holds no picture at all.
        """
        import av

        try:
            frame = next(self._frames, None)
        except (av.error.FFmpegError, OSError) as error:
            raise self._explain(error, "broke off") from None
        if frame is None:
            if self.live and self._next_index == 1:
                raise SourceError(
                    f"{self._camera.url}: ended after one picture; give the address of the camera's video, "
                    "such as RTSP or MJPEG, not that of its snapshot"
                )
            if self.live:
                raise SourceError(f"{self._camera.url}: the stream has ended")
            if self._next_index == 0:
                raise SourceError(f"{self._camera.url}: holds no picture that can be decoded")
            self.missing_s = self._missing()
            self.unread = self._left_over()
            return None
        time_ns = self._time(frame)
        self._next_index += 1
        shown = shown_size(frame.width, frame.height, self._pixel_aspect(frame))
        width, height = shown if frame.rotation % 180 == 0 else shown[::-1]
        return Picture(time_ns, width, height, lambda: self._to_image(frame, shown))

    def close(self) -> None:
        """Close the container; FFmpeg's threads and sockets go with it."""
        self._frames = iter(())
        self._stream = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decode(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Decoded frames; what cannot be decoded is counted and left out."""
        import av

        # The pipeline has one thread per camera; FFmpeg's own would delay frames and crowd the machine.
        stream.codec_context.thread_count = 1
        asked = last_frame = time.monotonic()
        for packet in _packets(container, stream):
            if self.live and time.monotonic() - asked >= self._sources.stall_s:
                # When a read ends for its time, FFmpeg first hands out what its parser held back.
                raise SourceError(f"{self._camera.url}: nothing came for {self._sources.stall_s:g} s")
            self._note_sender_report(packet)
            self._note_length(packet)
            self.corrupt += packet.is_corrupt
            silent = time.monotonic() - last_frame > self._sources.stall_s / 2
            needed = silent or packet.is_discard or self._may_be_needed(packet)
            stream.codec_context.skip_frame = self._sparing.send(packet.pts, needed=needed)
            try:
                frames = packet.decode()
            except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.BugError):
                self.corrupt += 1
                frames = []
            for frame in frames:
                last_frame = time.monotonic()
                self.passed += self._sparing.come(frame.pts, self._spacing(stream))
                if self.live and self._is_rest(frame):
                    self.corrupt += 1
                    continue
                self.corrupt += frame.is_corrupt
                yield frame
            if self.live and time.monotonic() - last_frame > self._sources.stall_s:
                raise SourceError(
                    f"{self._camera.url}: data arrives, but no picture for {self._sources.stall_s:g} s"
                )
            asked = time.monotonic()
        self.passed += self._sparing.end()

    def _note_length(self, packet: av.Packet[Any]) -> None:
        if packet.pts is not None:
            self._read_from = min(self._read_from, packet.pts)
            self._read_to = max(self._read_to, packet.pts + (packet.duration or 0))
        self._read_bytes = max(self._read_bytes, (packet.pos or 0) + packet.size)

    def _missing(self) -> float:
        """Seconds that a file which has ended is shorter than it says; 0 where it may be whole."""
        assert self._container is not None  # noqa: S101 - only called while it is open
        assert self._stream is not None  # noqa: S101 - likewise
        if self._container.format.name.split(",")[0] not in STATING:
            return 0.0
        own, unit = self._stream.duration, float(self._stream.time_base or 0)
        stated_s = own * unit if own else stated_length_ns(self._container) / SECOND_NS
        missing_s = stated_s - (self._read_to - self._read_from) * unit
        least_s, share = MOST_MISSING
        return missing_s if least_s + share * stated_s < missing_s < math.inf else 0.0

    def _left_over(self) -> float:
        """What `unread` says: joined transport streams may go on with another; of FLV and MP4 one is read."""
        assert self._container is not None  # noqa: S101 - only called while it is open
        kind = self._container.format.name
        joined = kind in JOINED or (kind.startswith("mov") and self._holds_several_movies())
        if not joined or not self._container.size > 0:
            return 0.0
        left = 1 - self._read_bytes / self._container.size
        return left if left > MOST_LEFT else 0.0

    def _holds_several_movies(self) -> bool:
        """Whether an MP4 file has a second table of contents, which FFmpeg skips."""
        url = self._camera.url
        return not url.scheme and sum(kind == b"moov" for kind in boxes_of(Path(url.reveal()))) > 1

    def _spacing(self, stream: av.VideoStream) -> float:
        """Between two pictures, in the stream's units of time; 0 where it is not known."""
        return 1 / (self._rate() * float(stream.time_base)) if stream.time_base else 0.0

    def _may_be_needed(self, packet: av.Packet[Any]) -> bool:
        """Whether somebody may want to look at a packet's picture, by the time that it is likely to get."""
        if packet.pts is None or self._offset_ns is None:
            return True
        time_ns = int(packet.pts * packet.time_base * SECOND_NS) + self._offset_ns
        return self.needed(time_ns, int(SECOND_NS / self._rate()))

    def _is_rest(self, frame: av.VideoFrame) -> bool:
        """Whether a picture has the time of the one before: the rest of it, which its server took apart."""
        repeats = frame.pts is not None and frame.pts == self._last_pts
        self._last_pts = frame.pts
        if repeats and not self._told:
            self._told = True
            log.warning(
                "%s: sends two pictures with one time, and one is left out; where halves of pictures are "
                "green, its server puts parameter sets between their slices: docs/troubleshooting.md",
                self._camera.url,
            )
        return repeats

    def _note_sender_report(self, packet: av.Packet[Any]) -> None:
        if not self.live or packet.pts is None or not packet.has_sidedata("prft"):
            return
        (wallclock_us,) = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))
        pts_ns = int(packet.pts * packet.time_base * SECOND_NS)
        self.capture_clock.sender_report(pts_ns, wallclock_us * 1000, self._clock_ns())

    def _time(self, frame: av.VideoFrame) -> int:
        """Capture time of a frame in UTC nanoseconds."""
        assert self._container is not None  # noqa: S101 - set by open
        pts = frame.pts if self.live else self._order.time_of(frame.pts, frame.dts)
        known = pts is not None and not (self.live and self._container.format.name in UNTIMED)
        first_known, self._timed = known and not self._timed, self._timed or known
        if self.live and not self._timed:
            # Any rate that is supposed drifts away from the camera's: the time of arrival is all there is.
            steady_ns = self._steady_ns()
            return self.capture_clock.stamp(steady_ns, self._clock_ns(), steady_ns)
        next_ns = int(SECOND_NS / self._rate()) if self._next_index else 0
        pts_ns = self._last_pts_ns + next_ns  # several pictures in one packet have one time, of the first
        if pts is not None and known:
            pts_ns = round(float(pts * (frame.time_base or 0)) * SECOND_NS)
        if self.live:
            self._last_pts_ns = pts_ns
            time_ns = self.capture_clock.stamp(pts_ns, self._clock_ns(), self._steady_ns())
            self._offset_ns = time_ns - pts_ns if known else None
            return time_ns
        if not self._next_index or first_known:
            # A recorder's files go on counting from one to the next.
            self._start_ns = (self._last_ns if self._next_index else self._start_ns) + next_ns - pts_ns
        time_ns = self._file_time(pts_ns)
        self._last_ns = time_ns
        exact = known and time_ns == self._start_ns + pts_ns
        self._offset_ns = self._start_ns if exact else None
        return time_ns

    def _file_time(self, pts_ns: int) -> int:
        """Capture time of a file's picture, later than the last one's."""
        time_ns = self._start_ns + pts_ns
        late_ns = self._last_ns - self._start_ns - self._last_pts_ns
        repeats, self._last_pts_ns = pts_ns == self._last_pts_ns, pts_ns
        if not self._next_index:
            return time_ns
        frame_ns = int(SECOND_NS / self._rate())
        leaps = self._leaps(time_ns)
        if leaps or self._last_ns - time_ns > MOST_LAG_NS:
            # Joined recordings begin again: they go on one frame after the last.
            next_ns = self._last_ns + frame_ns
            if leaps:
                self._note_leap(time_ns - next_ns)
            self._start_ns = next_ns - pts_ns
            return next_ns
        if late_ns <= 0 and time_ns > self._last_ns:
            return time_ns
        # Pictures of one time, or slightly out of order; those after them hurry until they are in time.
        return max(time_ns, self._last_ns + (frame_ns if repeats else max(1, frame_ns // 2)))

    def _leaps(self, time_ns: int) -> bool:
        """Whether the capture time that a file's timestamps ask for cannot be right."""
        gap_ns = time_ns - self._last_ns
        return self._next_index > 0 and (gap_ns > MOST_GAP_NS or not is_plausible(time_ns))

    def _note_leap(self, leap_ns: int) -> None:
        self.corrupt += 1
        if not self._told_leap:
            self._told_leap = True
            log.warning(
                "%s: its timestamps leap by %.3g days at picture %d; times go on one frame after the last",
                self._camera.url,
                leap_ns / (24 * 3600 * SECOND_NS),
                self._next_index,
            )

    def _rate(self) -> float:
        """Pictures per second as the stream has it; 25 where it does not know or cannot be believed."""
        if self._stream is None:
            return 25.0
        # Of bare H.264 and H.265, which have no times, FFmpeg takes 25 for the average whatever they say.
        coded = None if self._timed else self._stream.codec_context.framerate
        rate = coded or self._stream.average_rate
        return float(rate) if rate and RATES[0] <= rate <= RATES[1] else 25.0

    def _file_start_ns(self) -> int:
        """Capture time of the first picture: configured, else from metadata, else last write minus length."""
        assert self._container is not None  # noqa: S101 - only called from open
        return file_start_ns(
            Path(self._camera.url.reveal()),
            self._camera.start_time,
            self._container.metadata.get("creation_time", ""),
            stated_length_ns(self._container),
            otherwise_ns=self._clock_ns(),
        )

    def _pixel_aspect(self, frame: av.VideoFrame) -> float:
        """Width of a picture's pixels in heights: as configured, else as the container or the stream says."""
        assert self._stream is not None  # noqa: S101 - set by open
        if self._camera.pixel_aspect is not None:
            return aspect_ratio(self._camera.pixel_aspect)
        stated = self._container_aspect or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if stated != self._aspect:
            self._aspect = stated
            self._tell_aspect(frame)
        return float(stated) if is_pixel_aspect(float(stated)) else 1.0

    def _tell_aspect(self, frame: av.VideoFrame) -> None:
        """Pixels that are not square change what boxes and regions are in, so they are told of."""
        camera, stated, stored = self._camera, self._aspect, (frame.width, frame.height)
        if not is_pixel_aspect(float(stated)):
            log.warning(
                "camera %s: its stream says that pixels are %d:%d, which no camera has; they are taken to be "
                "square: give pixel_aspect where they are not",
                *(camera.id, stated.numerator, stated.denominator),
            )
            return
        shown = shown_size(*stored, float(stated))
        if shown == stored:
            return
        log.info("camera %s: pictures of %d x %d are made %d x %d, as shown", camera.id, *stored, *shown)
        if camera.regions and camera.region_size is None:
            log.warning(
                "camera %s: regions are taken in pixels of %d x %d; if they were drawn on %d x %d, give that "
                "as region_size",
                *(camera.id, *shown, *stored),
            )

    def _to_image(self, frame: av.VideoFrame, shown: tuple[int, int]) -> Image:
        """BGR pixels, as wide as they are shown, turned upright as the file's metadata says."""
        import numpy as np

        assert self._reformatter is not None  # noqa: S101 - set by open
        interlaced = self._camera.interlaced
        if interlaced is None:
            interlaced = frame.interlaced_frame and math.prod(shown) <= LARGEST  # smoothed at full size
        width, height = shown if interlaced else self._size(frame, shown)
        smaller = height < frame.height or width < frame.width
        pixels = self._reformatter.reformat(
            frame, width, height, "bgr24", interpolation="AREA" if smaller else None, threads=1
        ).to_ndarray()
        image = np.asarray(pixels, np.uint8)
        if interlaced:
            smooth_combs(image)
        turns = round(frame.rotation / 90)
        if is_mirrored(frame):
            image, turns = image[:, ::-1], turns + 2  # FFmpeg's angle is that of both together
        upright = np.ascontiguousarray(np.rot90(image, turns % 4))
        return scale_down(upright, self._camera.max_height)  # where it is not yet

    def _size(self, frame: av.VideoFrame, shown: tuple[int, int]) -> tuple[int, int]:
        """Width and height that a frame is converted to, before it is turned upright."""
        if frame.rotation % 180 == 0:
            return scaled_size(*shown, self._camera.max_height)
        width, height = scaled_size(*shown[::-1], self._camera.max_height)
        return height, width

    def _is_remote(self) -> bool:
        return is_remote(self._camera.url)

    def _options(self) -> dict[str, str]:
        """FFmpeg options. `nobuffer` throws away what probing has read: never for what may be a recording."""
        if not self._camera.url.scheme:
            return {"pattern_type": "none"}  # w%03d.png is a picture of that name, not w001.png and others
        if self._camera.url.scheme not in ("rtsp", "rtsps"):
            return {}
        # Stream parameters are in the SDP and the first key frame: a second of probing is plenty.
        return {
            "rtsp_transport": self._camera.transport,
            "fflags": "nobuffer",
            "analyzeduration": "1000000",
            "fpsprobesize": "1",
        }

    def _hwaccel(self) -> HWAccel | None:
        """NVDEC when asked for, or when there is an NVIDIA device and nothing else was asked."""
        from av.codec.hwaccel import HWAccel

        choice = self._camera.decoder
        if choice == "cpu" or (choice == "auto" and not Path("/dev/nvidia0").exists()):
            return None
        return HWAccel("cuda", allow_software_fallback=choice == "auto")

    def _explain(self, error: Exception, what: str) -> SourceError:
        """FFmpeg's error in the user's words, without credentials."""
        import av

        url = self._camera.url
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            return CameraRefusedError(
                f"{url}: the camera refused the user name or password; check the URL and the environment "
                "variables it uses"
            )
        if isinstance(error, av.error.HTTPNotFoundError):
            return SourceError(
                f"{url}: {what}: Server returned 404 Not Found; check the path behind the address: every "
                "maker of cameras has its own"
            )
        if isinstance(error, av.error.ExitError):
            limit = self._sources.stall_s if what == "broke off" else self._sources.connect_s
            return SourceError(f"{url}: nothing came for {limit:g} s")
        if isinstance(error, av.error.InvalidDataError) and what == "cannot be opened":
            if _lacks_index(url):
                return SourceError(
                    f"{url}: its index is missing or damaged: it is still being written, or recording or "
                    "copying it broke off; wait until it is whole, or copy it again"
                )
            return SourceError(
                f"{url}: is not a video that FFmpeg can read; give a video such as .mp4 or .mkv, a folder of "
                "images, or a camera's URL that plays in ffplay"
            )
        if getattr(error, "errno", None) == errno.EIO and url.scheme and (host := unknown_host(url.reveal())):
            return SourceError(
                f"{url}: the host name {url.scrub(host)} was not found; check its spelling and the name "
                "server, or give the camera's IP address"
            )
        reason = url.scrub(getattr(error, "strerror", None) or str(error))
        return SourceError(f"{url}: {what}: {reason}")


def _packets(container: InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[Any]]:
    """A stream's packets, at the end an empty one; PyAV then trips over streams that appeared meanwhile."""
    with contextlib.suppress(IndexError):
        yield from container.demux(stream)


def is_mirrored(frame: av.VideoFrame) -> bool:
    """Whether the file's metadata mirror its pictures, beside turning them."""
    from av.sidedata import sidedata

    # A frame's own `side_data` refers back to it: the pixels would stay until such circles are looked for,
    # hundreds of pictures later.
    side_data: Any = sidedata
    matrix = side_data.SideDataContainer(frame).get("DISPLAYMATRIX")
    if matrix is None:
        return False
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    return bool(a * d < b * c)


def stated_length_ns(container: InputContainer) -> int:
    """Of a recording from its first picture on, as it says; 0 where it does not say."""
    length_us, start_us = container.duration or 0, container.start_time or 0
    if container.format.name.split(",")[0] in FROM_ZERO and 0 < start_us < length_us:
        length_us -= start_us
    return length_us * 1000


def best_stream(container: InputContainer) -> av.VideoStream | None:
    """The largest video stream that is no cover picture, the first of those alike; None without any."""
    from av.stream import Disposition

    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    return max(streams, key=lambda one: one.width * one.height, default=None)


def _lacks_index(url: SecretUrl) -> bool:
    """Whether it is an MP4 or MOV file, of those that cannot be opened: they have their index at the end."""
    try:
        path = Path(url.reveal())
        if url.scheme or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8)[4:] in (b"ftyp", b"mdat", b"wide")
    except OSError:
        return False


def _check_file(url: SecretUrl) -> None:
    """Say plainly what FFmpeg would say in its own way."""
    path = Path(url.reveal())
    try:
        if not path.exists() and url.reveal().startswith(DEVICES):
            raise SourceError(f"{url}: no such device; plug it in, or give one that 'ls {DEVICES}*' shows")
        if not path.exists():
            raise SourceError(f"{url}: no such file; give a video or a folder of images that exists")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{url}: the file is empty; record or copy it again")
    except OSError as error:
        raise SourceError(f"{url}: cannot be looked at: {error.strerror}") from None

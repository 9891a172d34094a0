"""Texts and URLs without their secrets: what is not recognised as harmless is not shown.

Cameras carry passwords in every part of a URL: before the host, in the path (`user=a_password=b_channel=1`),
in the query under names nobody can list. So nothing is searched for secrets; a URL is taken apart, and of
each part only what is known to be harmless is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "***"

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.%]+\])")
_PORT = re.compile(r":[0-9]{1,5}")
_USUAL_PORTS = frozenset((":80", ":81", ":443", ":554", ":8000", ":8080", ":8443", ":8554", ":8888", ":1935"))
_END_IN_TEXT = re.compile(r"[\s'\"<>`]")
_BEFORE_IN_TEXT = " \t\r\n'\"(<[{,;=`"
_TOKEN = re.compile(r"([A-Za-z]+)|([0-9]+)|[._-]")
_MOST_SHOWN = 200
_MOST_DIGITS = 3
"""A longer number in a path could be a PIN."""

_PATH_WORDS = (
    "amp api archive asf audio av avi axis cam camera cameras cgi ch chan channel channels cif codec "
    "default defaultprimary defaultsecondary first flv hd hevc high hls image images index ipcam "
    "ipcamera jpeg jpg live livestream low main mainstream media mediainput mjpeg mjpg mkv mov mp mpeg "
    "multicast onvif play png preview primary profile ptz realmonitor rtsp rtspstream sd sdp second "
    "secondary snapshot stream streaming streams sub substream tcp track trackid tracks ts udp unicast "
    "user vga video videoinput videomain videos videosub view vod wfov"
)
WORDS = frozenset(_PATH_WORDS.split()) | frozenset("abcdefghijklmnopqrstuvwxyz")
"""What cameras' paths are made of, and single letters."""
_PARAMETERS = (
    "audio camera ch chan channel channels codec container fps framerate height live media mode "
    "overview profile proto quality res resolution rotation size stream streamtype subtype track "
    "transport type unicast videocodec videokeyframeinterval width"
)
NAMES = frozenset(_PARAMETERS.split())
"""Names of parameters whose values may be shown, if those are harmless too."""
_SECRETS = (
    "access_token api_key apikey auth key login loginpas loginuse pass passwd password pw pwd secret "
    "session sig signature token user username usr"
)
_SECRET_NAMES = frozenset(_SECRETS.split())
"""Names that may be shown, their values never. Other names are not shown: they could be the secret."""
_VALUES = frozenset(("h264", "h265", "mpeg4", "true", "false", "yes", "no", "on", "off"))
_SIZE = re.compile(r"[0-9]{2,4}x[0-9]{2,4}")
_SYNTHETIC = re.compile(r"[A-Za-z0-9_.,=&?/-]*")


def mask(text: str) -> str:
    """A text by somebody else, such as an error of FFmpeg, with every URL in it masked.

    Where a password has blanks or quotes in it, only its URL tells where it ends: see `SecretUrl.scrub`.
    """
    starts: list[int] = []
    for found in SCHEME.finditer(text):
        at = found.start()
        # Right behind another URL's letters it belongs to that one: a password may hold a ://
        if not starts or text[at - 1] in _BEFORE_IN_TEXT or _END_IN_TEXT.search(text, starts[-1], at):
            starts.append(at)
    if not starts:
        return text
    pieces = [text[: starts[0]]]
    for begin, end in zip(starts, [*starts[1:], len(text)], strict=True):
        pieces.append(_mask_first(text[begin:end]))
    return "".join(pieces)


def _mask_first(text: str) -> str:
    """A text that begins with a URL, up to the last `@` of its line or the first blank."""
    line, newline, rest = text.partition("\n")
    behind = line.rfind("@") + 1
    found = _END_IN_TEXT.search(line, behind)
    end = found.start() if found else len(line)
    trimmed = line[:end].rstrip(".,;:)]}")
    end = max(len(trimmed), behind, len(SCHEME.match(line)[0]))  # type: ignore[index]
    return mask_whole(line[:end]) + line[end:] + newline + (mask(rest) if rest else "")


def quoted(masked: str) -> str:
    """A value as errors show it: in quotes, and not by the megabyte.

    >>> quoted("x" * 300) == "'" + "x" * 200 + "'..."
    True
    """
    return repr(masked) if len(masked) <= _MOST_SHOWN else f"{masked[:_MOST_SHOWN]!r}..."


def mask_whole(value: str) -> str:
    """One URL or path from its first letter to its last, whatever letters are in it."""
    found = SCHEME.match(value)
    if found is None:
        return _mask_path(value)
    scheme = found[0]
    _, at, rest = value[len(scheme) :].rpartition("@")
    if scheme.lower() == "synth://" and not at and _SYNTHETIC.fullmatch(rest):
        return value
    first, behind = split_authority(value[len(scheme) :])
    if "@" in behind and ("@" in first or _place(first) == first):
        return scheme + MASK  # the last @ may stand before the host, or in a password behind it
    authority, tail = split_authority(rest)
    return f"{scheme}{MASK + at if at else ''}{_place(authority)}{_tail(tail)}"


def split_authority(rest: str) -> tuple[str, str]:
    """What follows a URL's scheme, as host and port, and the path with all that follows."""
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return rest[:end], rest[end:]


def hidden(value: str) -> Iterator[str]:
    """The parts of a URL that are not shown, in whole and in pieces, for taking them out of other texts."""
    if mask_whole(value) == value:
        return
    found = SCHEME.match(value)
    rest = value[found.end() if found else 0 :]
    credentials, _, place = rest.rpartition("@")
    if credentials:
        yield credentials
        yield from (part for part in credentials.split(":", 1) if part)
        yield credentials.rpartition(":")[2]
    if "@" in split_authority(rest)[1]:  # where the password ends is not clear: every piece may be of it
        for piece in re.split(r"[/?#&;@:]", rest):
            yield from _tokens(piece)
    path, _, query = split_authority(place)[1].partition("?")
    for parameter in re.split(r"[&;#]", query):
        name, equals, content = parameter.partition("=")
        if name.lower() not in NAMES or not _harmless(content):
            yield content if equals else name
            yield from () if name.lower() in _KNOWN else _tokens(parameter)
    for segment in re.split(r"[/;#]", path):
        # A plain word may be the camera's name, which texts about it need.
        if (found or "=" in segment) and not _harmless(segment) and not segment.isalpha():
            yield segment
            yield from _tokens(segment) if "=" in segment else ()


def _tokens(text: str) -> Iterator[str]:
    """The pieces of `user=a_password=b_channel=1` that are no usual words."""
    for part in re.split(r"[=_&,./:@;#+]+", text):
        if part.lower() not in _KNOWN and not _harmless(part):
            yield part


_KNOWN = WORDS | NAMES | _SECRET_NAMES


def _place(authority: str) -> str:
    """Host and port, if they can be nothing else; `admin:12345` might be a name and a password."""
    host = _HOST.match(authority)
    if host is None:
        return MASK if authority else ""
    port = authority[host.end() :]
    if not port:
        return authority
    certain = "." in host[0] or "[" in host[0] or host[0] == "localhost" or port in _USUAL_PORTS
    return authority if certain and _PORT.fullmatch(port) else MASK


def _tail(tail: str) -> str:
    path, question, query = tail.partition("?")
    path, hash_, _ = path.partition("#")
    shown = _segments(path)
    if hash_:  # a fragment means nothing to a camera: more likely it is a piece of a password
        return f"{shown}#{MASK}"
    if not question:
        return shown
    query, hash_, _ = query.partition("#")
    parameters = "&".join(_parameter(one) for one in query.split("&"))
    return f"{shown}?{parameters}" + (f"#{MASK}" if hash_ else "")


def _segments(path: str) -> str:
    """The path up to the first segment that is not harmless."""
    shown: list[str] = []
    for segment in path.split("/"):
        if segment and not _harmless(segment):
            return "/".join([*shown, MASK])
        shown.append(segment)
    return "/".join(shown)


def _parameter(text: str) -> str:
    name, equals, value = text.partition("=")
    known = name.lower()
    if known in NAMES and _harmless(value):
        return text
    if known in NAMES or known in _SECRET_NAMES:
        return f"{name}={MASK}" if equals else name
    return MASK if text else ""


def _harmless(text: str) -> bool:
    """Whether a path segment or value is made of camera words and short numbers alone."""
    if text.lower() in _VALUES or _SIZE.fullmatch(text):
        return True
    at = 0
    for token in _TOKEN.finditer(text):
        word, number = token[1], token[2]
        if token.start() != at or len(number or "") > _MOST_DIGITS:
            return False
        if word and word.lower() not in WORDS:
            return False
        at = token.end()
    return at == len(text)


def _mask_path(value: str) -> str:
    """A value without a scheme: a path, or a URL whose scheme is misspelt or was forgotten."""
    credentials, at, rest = value.rpartition("@")
    shown = rest if at else credentials + rest
    odd = re.search(r"[?=&#]", shown)
    if odd is not None:
        shown = shown[: shown.rfind("/", 0, odd.start()) + 1] + MASK
    return f"{MASK}@{shown}" if at else shown

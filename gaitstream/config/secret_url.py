"""URLs that may hold credentials: usable in full, shown masked.

A camera's URL goes to the decoder as it is; logs, events, errors, tables and the published
configuration get the masked form. `scrub` cleans texts that others wrote, such as FFmpeg's errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gaitstream.addresses import LAST_PORT
from gaitstream.config.masking import MASK, SCHEME, hidden, mask, mask_whole, split_authority

ENCODE = (
    "in user names and passwords write @ : / # ? % and blanks as %40 %3A %2F %23 %3F %25 %20, "
    "in paths @ as %40"
)
_SHORT = 4
"""Secrets up to this length are taken out of foreign texts only where they stand as words of their own."""


class SecretUrl:
    """A URL or path whose `str` and `repr` show no credentials.

    >>> url = SecretUrl("rtsp://admin:hunter2@10.0.0.5/1")
    >>> print(url)
    rtsp://***@10.0.0.5/1
    >>> url.reveal()
    'rtsp://admin:hunter2@10.0.0.5/1'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The URL with its credentials; for the decoder only."""
        return self._value

    @property
    def scheme(self) -> str:
        """`rtsp`, `http`, `synth`, ...; empty for a path."""
        match = SCHEME.match(self._value)
        return match[0][:-3].lower() if match else ""

    def fault(self) -> str:
        """Why this cannot be a URL, in words that hold nothing of it; empty when it can, and for paths."""
        match = SCHEME.match(self._value)
        if match is None:
            return ""
        rest = self._value[match.end() :]
        if re.search(r"[\s\x00-\x1f\x7f]", rest):
            return f"a URL has no blanks or control characters: {ENCODE}"
        authority, tail = split_authority(rest)
        if "@" in tail:
            return f"an @ stands behind the first / ? or #, so it is not clear where the host is: {ENCODE}"
        if self.scheme == "file" and not authority:
            return "a video file is given by its path, without file://"
        return _place_fault(authority.rpartition("@")[2]) if self.scheme != "synth" else ""

    def scrub(self, text: str) -> str:
        """Take this URL's credentials out of a text, in whatever form they stand there."""
        text = text.replace(self._value, str(self))
        # One form may begin in the middle of another, and each would leave the other's rest.
        found = sorted(span for secret in self._secrets() for span in _places(secret, text))
        kept: list[str] = []
        end = 0
        for start, after in found:
            if start > end or not kept:
                kept.append(text[end:start])
            end = max(end, after)
        return mask(MASK.join([*kept, text[end:]]))

    def _secrets(self) -> list[str]:
        """Forms of the hidden parts, the longest first."""
        forms = {
            form
            for part in hidden(self._value)
            for form in (part, unquote(part), unquote_plus(part), quote(unquote(part), safe=""))
        }
        return sorted((form for form in forms if len(form) > 1 and form != MASK), key=len, reverse=True)

    def __str__(self) -> str:
        return mask_whole(self._value)

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type[SecretUrl], tuple[str]]:
        return (SecretUrl, (self._value,))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept a string or a SecretUrl; write the masked form."""
        from_text = core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(min_length=1, strip_whitespace=True)
        )
        return core_schema.no_info_before_validator_function(
            lambda value: value.reveal() if isinstance(value, SecretUrl) else value,
            from_text,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A string, for editors."""
        return {"type": "string", "minLength": 1}


def _place_fault(place: str) -> str:
    """What is wrong with a URL's host and port."""
    bracketed = re.fullmatch(r"\[[^\]]*\](?P<port>.*)", place)
    host, colon, port = place.partition(":")
    if bracketed:
        host, colon, port = "ip", bracketed["port"][:1], bracketed["port"][1:]
    if not host:
        return "there is no host behind the ://; write rtsp://user:password@host/path"
    if colon and not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= LAST_PORT):
        return f"what follows the host's colon is no port number; if it belongs to a password: {ENCODE}"
    return ""


def _places(secret: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a secret stands in a text, from and to, places that overlap among them."""
    pattern = re.escape(secret)
    if len(secret) <= _SHORT:  # in the middle of a word it would blank innocent letters
        pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
    return ((one.start(), one.start() + len(secret)) for one in re.finditer(f"(?={pattern})", text))

"""URLs that may hold credentials: usable in full, shown masked.

A camera's URL goes to the decoder as it is; logs, events, errors, tables and the published
configuration get the masked form. `scrub` cleans texts that others wrote, such as FFmpeg's errors.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MASK = "***"

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<userinfo>[^/?#\s]*)@")
_SECRET_PARAMETER = re.compile(
    r"(?P<name>[?&;](?:pass(?:word|wd)?|pwd|token|access_token|auth|key|api_?key|secret|sig(?:nature)?|user"
    r"(?:name)?|login)=)[^&;#\s'\"]*",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Replace user names, passwords and secret query parameters of every URL in a text."""
    return _SECRET_PARAMETER.sub(rf"\g<name>{MASK}", _USERINFO.sub(rf"\g<scheme>{MASK}@", text))


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
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", self._value)
        return match[1].lower() if match else ""

    def scrub(self, text: str) -> str:
        """Take this URL's credentials out of a text, in whatever form they stand there."""
        text = mask(text.replace(self._value, str(self)))
        for secret in self._secrets():
            text = text.replace(secret, MASK)
        return text

    def _secrets(self) -> list[str]:
        match = _USERINFO.match(self._value)
        parts = [] if match is None else [match["userinfo"], *match["userinfo"].split(":", 1)[1:]]
        parts += [found.group(0).split("=", 1)[1] for found in _SECRET_PARAMETER.finditer(self._value)]
        # Very short secrets would blank innocent letters; they are still gone with the whole URL.
        return sorted({form for part in parts for form in (part, unquote(part)) if len(form) > 2}, key=len)[
            ::-1
        ]

    def __str__(self) -> str:
        return mask(self._value)

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
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(cls), from_text], mode="left_to_right"
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A string, for editors."""
        return {"type": "string", "minLength": 1}

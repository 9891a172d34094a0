"""Types of values that several sections of a cams.yaml share, and how they are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from gaitstream.addresses import DEFAULT_ENDPOINT, LAST_PORT
from gaitstream.config.paths import anchor
from gaitstream.models.resolve import is_path
from gaitstream.registry import Registry

EVERYWHERE = {"*", "0.0.0.0", "[::]", "::"}
MOST_DAYS = 36_500
Days = Annotated[float, Field(gt=0, le=MOST_DAYS)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Polygon = Annotated[list[tuple[float, float]], Field(min_length=3)]


def _check_aspect(value: Any) -> str:
    width, _, height = str(value).partition(":")
    try:
        ratio = float(width) / float(height)
    except (ValueError, ZeroDivisionError):
        ratio = 0.0
    if not is_pixel_aspect(ratio):
        raise misfit(f"{value} is no shape of a pixel; give width to height, as 12:11, from 1:4 to 4:1")
    return str(value)


PixelAspect = Annotated[str, BeforeValidator(_check_aspect)]
"""`W:H`; see `aspect_ratio`."""


def aspect_ratio(aspect: str) -> float:
    """Width of a pixel in heights.

    >>> aspect_ratio("3:2")
    1.5
    """
    width, _, height = aspect.partition(":")
    return float(width) / float(height)


def is_pixel_aspect(ratio: float) -> bool:
    """Whether cameras have such pixels: 1:2 is half the rows of a full picture, 24:11 half its columns."""
    return 0.25 <= ratio <= 4.0


def from_name(value: Any) -> Any:
    """`detector: demo` is short for `detector: {model: demo}`."""
    return {"model": value} if isinstance(value, str) else value


def misfit(text: str, *at: str | int) -> PydanticCustomError:
    """An error about the key `at`, counted from the section that checks it."""
    return PydanticCustomError("misfit", "{text}", {"text": text, "at": at})


def tcp_port(endpoint: str) -> int | None:
    """The port of a `tcp://HOST:PORT`, 0 for one that is free; None for other transports.

    Raises:
        PydanticCustomError: it has none, or one that does not exist.
    """
    if not endpoint.startswith("tcp://"):
        return None
    port = endpoint.rpartition(":")[2]
    if port == "*":
        return 0
    if not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise misfit(
            f"{endpoint}: give a port from 1 to {LAST_PORT}, as in {DEFAULT_ENDPOINT}; 0: a free one"
        )
    return int(port)


def share_port(one: str, another: str) -> bool:
    """Whether two `HOST:PORT` cannot both be listened at."""
    (host, _, port), (other, _, its_port) = (address.rpartition(":") for address in (one, another))
    hosts = {"127.0.0.1" if name == "localhost" else name for name in (host, other)}
    return port == its_port and port not in ("0", "*") and (len(hosts) == 1 or bool(hosts & EVERYWHERE))


def anchored(value: Any, info: ValidationInfo) -> Any:
    """Paths in the file are relative to the file."""
    base = (info.context or {}).get("base")
    if not isinstance(value, str) or base is None:
        return value
    try:
        return anchor(value, base)
    except ValueError as error:
        raise misfit(str(error)) from None


def _anchored_model(value: Any, info: ValidationInfo) -> Any:
    return str(anchored(value, info)) if isinstance(value, str) and is_path(value) else value


FilePath = Annotated[Path, BeforeValidator(anchored)]
ModelName = Annotated[str, Field(min_length=1), BeforeValidator(_anchored_model)]
RecognizerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


def one_of(registry: Registry[Any]) -> AfterValidator:
    """`auto`, or a name that a registry knows; packages may add to it."""

    def check(value: str) -> str:
        if value != "auto" and value not in registry.names():
            allowed = ", ".join(("auto", *registry.names()))
            raise misfit(f"{value!r} is no {registry.kind}; allowed: {allowed}")
        return value

    return AfterValidator(check)

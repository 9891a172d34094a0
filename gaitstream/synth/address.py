"""`synth://SITE?camera=1&people=8&seed=7`: reading the addresses of synthetic cameras."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlencode, urlsplit

from gaitstream.errors import ConfigError

EPOCH_NS = 1_767_225_600_000_000_000
"""World time 0 unless an address says otherwise: 2026-01-01 00:00:00 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a `synth://` address says. The fields are the parameters of the query."""

    site: str
    """`plaza`, `lobby`, `corridor`, `yard` or `terminal`."""
    camera: int = 1
    """Number of the camera, counted from 1; the first four stand at the four sides."""
    people: int = 8
    """Walkers in the world."""
    seed: int = 7
    """Of the people and their routes: cameras with the same site, people, seed and day see the same world."""
    day: int = 0
    """Other clothes, bags, pace, routes and light; the same people."""
    only: tuple[int, ...] | None = None
    """Numbers of the people who are there, counted from 0, comma-separated; all when left out."""
    fps: float = 15.0
    width: int = 640
    height: int = 360
    start: float = 0.0
    """World time of the first picture in seconds."""
    seconds: float | None = None
    """How long the camera gives pictures; endless when left out."""
    epoch_ns: int = EPOCH_NS
    """UTC nanoseconds of world time 0."""
    live: bool = False
    """1: a live camera, whose pictures come when they are due by the clock; late ones are left out."""
    mount: float | None = None
    """Mounting height in metres; the camera's own when left out."""
    tilt: float | None = None
    """Degrees below the horizon; the camera's own when left out."""
    fov: float | None = None
    """Horizontal field of view in degrees; the camera's own when left out."""
    quality: int | None = 82
    """JPEG quality of the camera's stream, 1..100; 0 leaves compression out."""
    noise: float = 2.4
    """Standard deviation of the sensor noise in grey levels."""


_LIMITS: dict[str, tuple[float, float]] = {
    "camera": (1, 999), "people": (0, 500), "seed": (0, 2**31), "day": (0, 10**6), "fps": (0.1, 240),
    "width": (32, 7680), "height": (32, 4320), "start": (0, 1e7), "seconds": (0.01, 1e7),
    "epoch_ns": (0, 2**62), "live": (0, 1), "mount": (0.5, 50), "tilt": (-30, 89), "fov": (5, 140),
    "quality": (0, 100), "noise": (0, 40),
}  # fmt: skip
_WHOLE = ("camera", "people", "seed", "day", "width", "height", "epoch_ns", "quality", "live")


def parse_address(url: str) -> Address:
    """Read an address.

    Raises:
        ConfigError: it is no `synth://` address, or a parameter is unknown or out of range.
    """
    parts = urlsplit(url)
    if parts.scheme != "synth" or not parts.netloc or parts.path not in ("", "/"):
        raise ConfigError(f"{url!r} is not a synthetic camera: write synth://SITE?camera=1&people=8&seed=7")
    values: dict[str, int | float | tuple[int, ...]] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        values[name] = _people(text) if name == "only" else _number(name, text)
    values["live"] = bool(values.get("live", 0))
    address = Address(site=parts.netloc, **values)  # type: ignore[arg-type]
    if address.only and max(address.only) >= address.people:
        raise ConfigError(
            f"only={','.join(map(str, address.only))}: with people={address.people} the numbers go from 0 to "
            f"{address.people - 1}"
        )
    return address


def to_url(address: Address) -> str:
    """The `synth://` address that `parse_address` reads back."""
    values: dict[str, object] = {}
    for field in fields(Address):
        value = getattr(address, field.name)
        if field.name == "only" and value is not None:
            value = ",".join(map(str, value))
        if field.name == "quality" and value is None:
            value = 0
        if field.name != "site" and value != field.default:
            values[field.name] = int(value) if isinstance(value, bool) else value
    query = urlencode(values, safe=",")
    return f"synth://{address.site}" + (f"?{query}" if query else "")


def _number(name: str, text: str) -> int | float:
    if name not in _LIMITS:
        near = difflib.get_close_matches(name, [*_LIMITS, "only"], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"synth:// has no parameter {name!r}{hint} (there are {', '.join(_LIMITS)}, only)")
    low, high = _LIMITS[name]
    whole = name in _WHOLE
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"synth:// {name}={text!r} is not a {'whole ' if whole else ''}number") from None
    if not low <= value <= high:
        raise ConfigError(f"synth:// {name}={text} is out of range: {low:g} to {high:g}")
    return value


def _people(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        numbers = (-1,)
    if numbers[0] < 0:
        raise ConfigError(f"synth:// only={text!r}: write the people's numbers with commas, as in only=0,2,3")
    return numbers

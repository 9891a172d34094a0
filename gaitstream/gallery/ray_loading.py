"""How everything here loads Ray: in the mode in which it sends a token, and asks for one."""

from __future__ import annotations

import os
import sys
from typing import Any

from gaitstream.errors import GaitstreamError, MissingExtraError

_MODE = "RAY_AUTH_MODE"


def load_ray(what_for: str, error: type[GaitstreamError]) -> Any:
    """The module `ray`.

    Args:
        what_for: what needs it, for the error where it is missing.
        error: raised where Ray was loaded in another mode: it reads the variable once, when it is loaded.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    if "ray" in sys.modules and os.environ.get(_MODE) != "token":
        raise error(
            f"Ray is loaded already, and sends no token: set {_MODE}=token before this program starts"
        )
    os.environ[_MODE] = "token"  # else everybody who reaches its ports can run programs in it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as missing:
        raise MissingExtraError("ray", "cluster", what_for) from missing
    return ray

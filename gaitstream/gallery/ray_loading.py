"""How everything here uses Ray: with tokens, or not at all."""

from __future__ import annotations

import os
import sys
from typing import Any

from gaitstream.errors import GaitstreamError, MissingExtraError

TOKEN_HELP = (
    "a Ray cluster without tokens lets everybody who reaches its ports run programs: start every node with "
    "RAY_AUTH_MODE=token and the token in ~/.ray/auth_token ('ray get-auth-token --generate' makes one) or "
    "RAY_AUTH_TOKEN, and have the same here"
)
ANSWER_S = 60.0
"""How long Ray may take to start a process on a node that is there."""
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


def refuse_open_nodes(ray: Any, error: type[GaitstreamError]) -> None:
    """Ask every node of the cluster that was joined whether it asks for tokens, before it is told a secret.

    Args:
        ray: the module.
        error: raised where one does not, or does not answer.
    """
    mode = ray.remote(num_cpus=0, max_retries=0)(_mode_here)
    pins = [f"node:{node['NodeManagerAddress']}" for node in ray.nodes() if node["Alive"]]
    asked = [mode.options(resources={pin: 0.001}).remote() for pin in pins]
    try:
        found = ray.get(asked, timeout=ANSWER_S)
    except ray.exceptions.RayError as away:
        raise error(f"a node of the Ray cluster does not answer ({away}); see 'ray status'") from away
    if any(one != "token" for one in found):
        raise error(TOKEN_HELP)


def _mode_here() -> str | None:
    return os.environ.get(_MODE)

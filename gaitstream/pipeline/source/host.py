"""Whether the host of a URL has an address: FFmpeg only says "Input/output error" when it has none."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def unknown_host(url: str) -> str:
    """The host of a URL when its name cannot be resolved; empty when it can, or when there is none.

    Asks the resolver, which may take seconds: call it after a failure only, from the camera's own thread.
    """
    try:
        host = urlsplit(url).hostname
        if host:
            socket.getaddrinfo(host, None)
    except socket.gaierror:
        return host or ""
    except ValueError:  # brackets that hold no IPv6 address, or a label that is too long for a name
        return ""
    return ""

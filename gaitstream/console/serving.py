"""Serving a console: uvicorn, with TLS or behind a proxy, until it is asked to stop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gaitstream.console.options import ConsoleOptions
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError, MissingExtraError

if TYPE_CHECKING:
    import uvicorn

    from gaitstream.console.further import FurtherPage

log = logging.getLogger(__name__)


def make_server(site: ConsoleSite, further: Sequence[FurtherPage] = ()) -> uvicorn.Server:
    """A server of a console, and of further pages, that does not listen yet."""
    try:
        import uvicorn

        from gaitstream.console.app import create_app
        from gaitstream.console.connections import PromptConnection
    except ImportError as error:
        raise MissingExtraError(str(error.name), "console", "the console") from error
    options = site.options
    return uvicorn.Server(
        uvicorn.Config(
            create_app(site, further),
            host=options.host,
            port=options.port,
            http=PromptConnection,
            ws="none",
            ssl_certfile=options.certificate,
            ssl_keyfile=options.certificate_key,
            proxy_headers=bool(options.trusted_proxies),
            forwarded_allow_ips=list(options.trusted_proxies),
            server_header=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )


def serve(options: ConsoleOptions, further: Sequence[FurtherPage] = ()) -> None:
    """Serve a console, and further pages, until SIGINT or SIGTERM.

    Raises:
        ConsoleError: what was asked for is not safe, or the address cannot be listened on.
    """
    check_free(options.host, options.port)
    site = ConsoleSite.open(options)
    try:
        server = make_server(site, further)
        server.run()
    except BaseException:
        site.close()
        raise
    if not server.started:
        raise ConsoleError(
            f"{options.host}:{options.port} cannot be listened on; set --port to a free one, or 0"
        )


def check_free(host: str, port: int) -> None:
    """See that an address can be listened on, before anything is begun.

    Raises:
        ConsoleError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise ConsoleError(
            f"{host}:{port} cannot be listened on ({error}); is a console there already? Give another port, "
            "or 0 for a free one"
        ) from error


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def address_of(options: ConsoleOptions) -> str:
    """What a browser on this machine opens."""
    scheme = "https" if options.certificate else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{scheme}://{host}:{options.port}/"

"""What the command line says of a console, and what is refused."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from gaitstream.addresses import CONSOLE_PORT, LAST_PORT
from gaitstream.console.feed import Bus
from gaitstream.errors import ConsoleError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ConsoleOptions:
    """Where a console listens and what it knows.

    Attributes:
        state: its folder: accounts, history, cursor, uploads.
        bus: where events come from; None keeps to the history that is there.
        cameras: the cams.yaml; None: cameras can be neither listed nor changed, clips not identified.
        gallery: file or URL; None for that of `cameras`.
        key: of the gallery, as `gallery.key`.
        history: file or URL; None for a file in `state`.
        journals: folders of event journals from which names are erased when somebody is forgotten.
        host: address to listen on.
        port: 0 takes a free one.
        certificate: PEM file; TLS with it.
        certificate_key: its private key.
        trusted_proxies: addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
        names: host names it answers to; empty: those of loopback, or any where it listens elsewhere.
        keep_days: events older than this leave the history; None keeps them.
    """

    state: Path
    bus: Bus | None = None
    cameras: Path | None = None
    gallery: str | Path | None = None
    key: str | None = None
    history: str | Path | None = None
    journals: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = CONSOLE_PORT
    certificate: Path | None = None
    certificate_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    keep_days: float | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS: its own, or a proxy's."""
        return self.certificate is not None or bool(self.trusted_proxies)

    @property
    def allowed_names(self) -> list[str]:
        """Values of the header `Host` that are answered; on loopback this keeps foreign pages out."""
        return list(self.names or ((*LOOPBACK_NAMES, self.host) if self.loopback else ("*",)))

    def check(self) -> None:
        """See that what is asked for is safe.

        Raises:
            ConsoleError: other machines could listen in, a certificate lacks its key, or the port is none.
        """
        if not 0 <= self.port <= LAST_PORT:
            raise ConsoleError(f"port {self.port} is none; give 1 to {LAST_PORT}, or 0 for a free one")
        if (self.certificate is None) != (self.certificate_key is None):
            raise ConsoleError("TLS needs both --tls-certificate FILE and --tls-key FILE")
        for file in (self.certificate, self.certificate_key):
            if file is not None and not file.is_file():
                raise ConsoleError(f"{file} is no file; give the PEM file of the certificate and of its key")
        if not self.loopback and not self.secure:
            raise ConsoleError(
                f"--host {self.host} can be reached from other machines, and passwords would cross the "
                "network in clear: give --tls-certificate and --tls-key, or --behind-proxy ADDRESS of what "
                "does TLS"
            )

"""The exception tree: every error a user can meet derives from `GaitstreamError`.

A message names the value, what is allowed and the next step. The command line prints it without a
traceback and exits with `exit_code`.
"""

from __future__ import annotations


class GaitstreamError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code = 1


class ConfigError(GaitstreamError):
    """A configuration file or a command-line value is wrong."""

    exit_code = 2


class MissingExtraError(GaitstreamError):
    """An optional dependency is needed and not installed."""

    exit_code = 3

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        self.purpose = purpose
        super().__init__(package, extra, purpose)

    def __str__(self) -> str:
        return f"{self.purpose} needs {self.package}: pip install 'gaitstream[{self.extra}]'"


class CheckpointError(GaitstreamError):
    """A checkpoint cannot be read or does not fit the model."""


class ExportError(GaitstreamError):
    """An export failed or its parity does not hold."""


class BundleError(GaitstreamError):
    """A model bundle is incomplete, edited or of an unknown schema."""


class ZooError(GaitstreamError):
    """A model of the catalogue cannot be fetched, or is not the file it should be."""


class EngineError(GaitstreamError):
    """An engine cannot be built, loaded or run."""


class NoRoomError(EngineError):
    """A device has no memory for it now: nothing is wrong with the engine."""


class RefusedEngineError(EngineError):
    """The bytes of an engine are damaged, or of another version or device: it has to be built again."""


class KernelError(GaitstreamError):
    """A kernel cannot be compiled, loaded or run with these arguments."""


class SourceError(GaitstreamError):
    """A camera or file cannot be opened or read."""


class GalleryError(GaitstreamError):
    """The gallery cannot be read, written or compared with."""


class MissingGalleryError(GalleryError):
    """There is no gallery at this place."""


class GalleryKeyError(GalleryError):
    """The gallery's key is missing, or is not the one it was closed with."""


class EvidenceError(GaitstreamError):
    """Evidence cannot be kept or read, or a bundle of it is not what was exported."""


class MissingEvidenceError(EvidenceError):
    """Nothing is kept of this, or not any more."""


class EvidenceForbiddenError(EvidenceError):
    """It is of a camera that whoever asks may not see."""


class FleetError(GaitstreamError):
    """The fleet's database cannot be used, or what a fleet needs is missing or wrong."""


class TelemetryError(GaitstreamError):
    """Metrics and health checks cannot be served."""


class ConsoleError(GaitstreamError):
    """The console cannot be served, or does not do what was asked of it."""


class EventError(GaitstreamError):
    """The event bus or its journal cannot be opened, read or written."""


class BusyError(EventError):
    """Another process has the journal or an address."""


class JournalWriteError(EventError):
    """An event could not be written to the journal; nothing was published, and the next try may succeed.

    Attributes:
        full: there is no room (disk, quota or file size), rather than a fault of the disk.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        self.full = full
        super().__init__(message)

"""Models of the catalogue on this machine: one folder each, found by name, their sums compared.

    CACHE/models/NAME/NAME.onnx    the file
    CACHE/models/NAME/NAME.yaml    a network's manifest
    CACHE/models/NAME/receipt.json where it came from, and how fast it is here

The receipt is written last and the file is renamed into place: a model is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import filelock
import msgspec

from gaitstream.errors import ConfigError, MissingExtraError, ZooError
from gaitstream.folders import cache_folder
from gaitstream.zoo.catalogue import CatalogueModel, KnownFile
from gaitstream.zoo.download import MOST_BYTES, SPARE_BYTES, Download, Report, discard, without_query

log = logging.getLogger(__name__)

RECEIPT = "receipt.json"
BLOCK_BYTES = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError,
    RuntimeError,
)  # fmt: skip
"""What reading an archive raises that is damaged, encrypted or packed in another way."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What one look of a network costs on a machine."""

    milliseconds: float
    """Median."""
    of: str
    """What it looked at, such as `picture` or `crop`."""
    runtime: str
    precision: str
    machine: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fetched model came from."""

    file: str
    sha256: str
    """Of that file, whatever it was made of."""
    size: int
    source: str
    """The URL or the path that was taken."""
    fetched_at: str
    """ISO 8601, UTC."""
    compared_with: str
    """Whose sum it was compared with; empty where there was none."""
    made_from: str = ""
    """The sum that was compared, where the file was converted from another."""
    accepted: str = ""
    """What was agreed to when it was fetched."""
    speed: Speed | None = None


def folder_of(model: CatalogueModel) -> Path:
    """Where a model lies once it was fetched."""
    return cache_folder("models") / model.name


def receipt_of(model: CatalogueModel) -> Receipt | None:
    """A fetched model's receipt; None when it is not here.

    Raises:
        ZooError: the receipt cannot be read.
    """
    path = folder_of(model) / RECEIPT
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Receipt)
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} cannot be read ({error}): {command(model, '--force')}") from error


def is_here(model: CatalogueModel) -> bool:
    """Whether a model was fetched, and its file is still there; a manifest that is not right is written anew.

    Raises:
        ZooError: it was changed since, or its receipt cannot be read.
    """
    receipt = receipt_of(model)
    if receipt is None or not (folder_of(model) / receipt.file).is_file():
        return False
    _verify_file(model, receipt)
    if model.manifest is not None and not _holds(manifest_path(model), _manifest(model, receipt)):
        with _locked(model):
            _write(manifest_path(model), _manifest(model, receipt))
    return True


def command(model: CatalogueModel, *options: str) -> str:
    """What fetches a model."""
    accept = ("--accept",) if model.consent else ()
    return " ".join(("gaitstream models get", model.name, *accept, *options))


def find_fetched(model: CatalogueModel) -> Path:
    """The manifest of a fetched network, its sum compared once per process.

    Raises:
        ConfigError: it was not fetched, or the pipeline cannot run it.
        ZooError: its file or its manifest was changed since.
    """
    receipt = receipt_of(model)
    if receipt is None:
        raise ConfigError(
            f"{model.task} {model.name!r} is not on this machine yet: {command(model)} fetches it"
            f"{size_text(model)}; without internet, put the file into a folder and add --from FOLDER"
        )
    verify(model, receipt)
    return manifest_path(model)


def manifest_path(model: CatalogueModel) -> Path:
    """A network's manifest."""
    return folder_of(model) / f"{model.name}.yaml"


def size_text(model: CatalogueModel) -> str:
    """The size in parentheses, where it is known."""
    return f" ({model.size / 1e6:.1f} MB)" if model.size is not None else ""


def verify(model: CatalogueModel, receipt: Receipt) -> None:
    """Compare a fetched model with its receipt, and its manifest with what the catalogue says today.

    Raises:
        ZooError: its file or its manifest is gone or is another.
    """
    _verify_file(model, receipt)
    manifest = manifest_path(model)
    if model.manifest is not None and not _holds(manifest, _manifest(model, receipt)):
        raise ZooError(
            f"{manifest} is not what this gaitstream makes of {model.name}: it is gone, was changed, or an "
            f"earlier one made it; {command(model)} writes it anew"
        )


def _verify_file(model: CatalogueModel, receipt: Receipt) -> None:
    path = folder_of(model) / receipt.file
    if not path.is_file():
        raise ZooError(f"{path} is gone: {command(model, '--force')}")
    try:
        state = path.stat()
        actual = _sum_of_state(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ZooError(
            f"{path} cannot be read ({error.strerror or error}): see to its permissions and its disk, or "
            f"{command(model, '--force')}"
        ) from error
    if actual != receipt.sha256:
        raise ZooError(
            f"{path} is {actual[:12]}, it was {receipt.sha256[:12]} when it was fetched: it was changed or "
            f"damaged; {command(model, '--force')}"
        )


def download(
    model: CatalogueModel,
    *,
    url: str = "",
    accepted: bool = False,
    pinned: str = "",
    report: Report = lambda _done, _total: None,
    say: Callable[[str], None] = log.info,
) -> Receipt:
    """Fetch a model from where its authors keep it, or from a mirror; goes on where it broke off.

    What another process fetches from there meanwhile is not fetched again.

    Args:
        model: which.
        url: a mirror of the file.
        accepted: whether the user agrees to `model.consent`.
        pinned: a sum to compare with in place of the catalogue's.
        report: told how far the download is.
        say: told in words where it is fetched from, and what is tried again.

    Raises:
        ConfigError: nobody agreed, or the address or the sum is none.
        MissingExtraError: an ONNX graph has to be made of it, and onnx is not installed.
        ZooError: it cannot be fetched, or is another file.
    """
    _ask(model, accepted=accepted)
    _require_converter(model)
    source = url or model.url
    _check_address(source)
    shown = without_query(source)
    pinned = _sum_given(pinned)
    before = _arrival(model)
    with _locked(model) as folder:
        now = _arrival(model)
        meanwhile = now if now != before else None
        if meanwhile and pinned in ("", meanwhile.sha256) and meanwhile.source == shown:
            return meanwhile
        part = folder / f"{model.name}.part"
        sizes = () if model.member or pinned else _sizes(model.files if url else model.files[:1])
        size = sizes[0] if len(sizes) == 1 else None
        Download(url=source, part=part, size=size, sizes=sizes, report=report, say=say).run()
        try:
            return _install(model, part, shown, pinned=pinned)
        finally:
            discard(part)


def take(model: CatalogueModel, place: Path, *, accepted: bool = False, pinned: str = "") -> Receipt:
    """Take a model's file from this machine; the original stays.

    Args:
        model: which.
        place: the file, or a folder that holds it under any name that is known for it or with a known size.
        accepted: whether the user agrees to `model.consent`.
        pinned: a sum to compare with in place of the catalogue's.

    Raises:
        ConfigError: nobody agreed, the sum is none, or there is no such file.
        MissingExtraError: see `download`.
        ZooError: it is another file.
    """
    _ask(model, accepted=accepted)
    _require_converter(model)
    pinned = _sum_given(pinned)
    source = _choose(model, place, pinned)
    with _locked(model) as folder:
        part = folder / f"{model.name}.copy"
        try:
            shutil.copyfile(source, part)
            return _install(model, part, str(source), pinned=pinned)
        except OSError as error:
            raise ZooError(f"{source} cannot be copied to {part}: {error}") from error
        finally:
            part.unlink(missing_ok=True)


def keep_speed(model: CatalogueModel, speed: Speed) -> None:
    """Note in a fetched model's receipt how fast it is here."""
    with _locked(model):
        receipt = receipt_of(model)
        if receipt is not None:
            _write(folder_of(model) / RECEIPT, msgspec.structs.replace(receipt, speed=speed))


def sum_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _sum_of_state(path: Path, _size: int, _mtime_ns: int) -> str:
    return sum_of(path)


def _ask(model: CatalogueModel, *, accepted: bool) -> None:
    if model.consent and not accepted:
        raise ConfigError(
            f"{model.name} asks for your consent: {model.consent}. Licence: {model.licence}, {model.terms}. "
            f"If you agree: {command(model)}"
        )


def _require_converter(model: CatalogueModel) -> None:
    """See that an ONNX graph can be made of a model, before it is fetched."""
    try:
        if model.convert:
            import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("onnx", "models", f"Making a graph of {model.name}") from error


def _sum_given(pinned: str) -> str:
    """A sum that somebody typed, before a long download is compared with it."""
    given = pinned.strip().lower()
    if given and not re.fullmatch("[0-9a-f]{64}", given):
        raise ConfigError(f"{pinned[:80]!r} is no SHA-256 sum: --sha256 takes 64 hexadecimal digits")
    return given


def _arrival(model: CatalogueModel) -> Receipt | None:
    """What was fetched, whatever was measured since; None where nothing is there that can be read."""
    try:
        receipt = receipt_of(model)
    except ZooError:
        return None
    return msgspec.structs.replace(receipt, speed=None) if receipt is not None else None


def _sizes(files: tuple[KnownFile, ...]) -> tuple[int, ...]:
    """Bytes that a file may have, of a mirror those of all copies; none where one is not known."""
    sizes = tuple(one.size for one in files if one.size is not None)
    return sizes if len(sizes) == len(files) else ()


def _check_address(url: str) -> None:
    """Refuse what no request can be made of; urllib would try it again and again, or break."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no IPv6 address, or a port that is no number
        sound = False
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError("the address holds a user name or a password, which is not sent: give it without")
    if not sound or re.search(r"[^!-~]", url):
        raise ConfigError(
            f"{url!r} is no address to fetch from: give one of http or https, with spaces and letters beyond "
            "ASCII in % signs, as %20"
        )


@contextlib.contextmanager
def _locked(model: CatalogueModel) -> Iterator[Path]:
    """The folder in which models arrive; one process at a time works on a model.

    Raises:
        ZooError: something in it cannot be written.
    """
    folder = cache_folder("models")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f"{model.name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.warning("another process works on %s: waiting for it", model.name)
            lock.acquire()
        try:
            yield folder
        finally:
            lock.release()
    except OSError as error:
        raise ZooError(
            f"{folder} cannot be written ({error}): make room in it, or set GAITSTREAM_CACHE to a folder of "
            "yours"
        ) from error


def _install(model: CatalogueModel, part: Path, source: str, *, pinned: str) -> Receipt:
    """Check a file that has arrived, and put it in its place."""
    with _unpacked(model, part) as arrived:
        original = sum_of(arrived)
        compared_with = _compare(model, arrived, original, source, pinned)
        with _converted(model, arrived) as file:
            receipt = Receipt(
                file=model.file,
                sha256=sum_of(file) if model.convert else original,
                size=file.stat().st_size,
                source=source,
                fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
                compared_with=compared_with,
                made_from=original if model.convert else "",
                accepted=f"{model.licence}: {model.consent}" if model.consent else "",
            )
            folder = folder_of(model)
            folder.mkdir(exist_ok=True)
            (folder / RECEIPT).unlink(missing_ok=True)
            file.replace(folder / model.file)
    if model.manifest is not None:
        _write(manifest_path(model), _manifest(model, receipt))
    _write(folder / RECEIPT, receipt)
    return receipt


def _compare(model: CatalogueModel, file: Path, sha256: str, source: str, pinned: str) -> str:
    """Whose sum it agrees with; empty where there is none to compare with."""
    if pinned:
        if sha256 != pinned:
            raise ZooError(f"{source} has the sum {sha256}, not {pinned}: nothing was kept")
        return "the sum given"
    found = model.knows(sha256)
    if found is None and model.files:
        word = "" if model.files[0].checked else " (a sum that was not checked when the catalogue was made)"
        raise ZooError(
            f"{source} has the sum {sha256}, and {model.name} is {model.files[0].sha256}{word}: it was "
            "damaged on the way or is another file; nothing was kept. If you know it to be right, name "
            "its sum with --sha256"
        )
    if found is None and _is_page(file):
        raise ZooError(
            f"{source} gives a web page in place of {model.name}: nothing was kept; give another address "
            "with --url, or the file with --from"
        )
    return found.basis if found else ""


def _is_page(file: Path) -> bool:
    """Whether it begins like HTML or XML, as no model does: the page of a login, or of an error."""
    with file.open("rb") as opened:
        return opened.read(256).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")


@contextlib.contextmanager
def _unpacked(model: CatalogueModel, part: Path) -> Iterator[Path]:
    """The model's file out of what has arrived, which may be an archive."""
    if not model.member or not (zipfile.is_zipfile(part) or tarfile.is_tarfile(part)):
        yield part
        return
    out = part.with_name(f"{model.name}.unpacked")
    try:
        _extract(part, model, out)
        yield out
    finally:
        out.unlink(missing_ok=True)


def _extract(archive: Path, model: CatalogueModel, out: Path) -> None:
    try:
        with _member(archive, model) as (source, size):
            if model.size is not None and size != model.size:
                raise ZooError(
                    f"{model.member} in the archive of {model.name} has {size} bytes where {model.size} are "
                    "expected; nothing was kept"
                )
            if size > min(MOST_BYTES, shutil.disk_usage(out.parent).free - SPARE_BYTES):
                raise ZooError(
                    f"{model.member} in the archive of {model.name} has {size / 1e6:.0f} MB: more than "
                    f"{out.parent} has room for, or than a model has; nothing was kept"
                )
            with out.open("wb") as target:
                shutil.copyfileobj(source, target, BLOCK_BYTES)
    except _DAMAGED as error:
        raise ZooError(f"the archive of {model.name} is damaged ({error}); nothing was kept") from error


@contextlib.contextmanager
def _member(archive: Path, model: CatalogueModel) -> Iterator[tuple[IO[bytes], int]]:
    """The model's file in its archive, and its bytes.

    Raises:
        ZooError: there is none, or there are several.
    """
    with contextlib.ExitStack() as stack:
        found: list[tuple[int, Callable[[], IO[bytes] | None]]]
        if zipfile.is_zipfile(archive):
            zipped = stack.enter_context(zipfile.ZipFile(archive))
            found = [
                (one.file_size, partial(zipped.open, one))
                for one in zipped.infolist()
                if PurePosixPath(one.filename).name == model.member
            ]
        else:
            packed = stack.enter_context(tarfile.open(archive))
            found = [
                (one.size, partial(packed.extractfile, one))
                for one in packed
                if one.isfile() and PurePosixPath(one.name).name == model.member
            ]
        if len(found) != 1:
            raise ZooError(f"the archive of {model.name} holds {len(found)} files {model.member}, not one")
        ((size, opened),) = found
        source = opened()
        if source is None:
            raise ZooError(f"{model.member} in the archive of {model.name} is no file; nothing was kept")
        yield stack.enter_context(source), size


@contextlib.contextmanager
def _converted(model: CatalogueModel, arrived: Path) -> Iterator[Path]:
    """An ONNX graph of what has arrived, where it is in another format.

    Raises:
        ZooError: it is not the network that was expected.
    """
    if not model.convert:
        yield arrived
        return
    from gaitstream.zoo.blazepose import convert

    named, made = (arrived.with_name(f"{model.name}{suffix}") for suffix in (".tflite", ".made"))
    try:
        arrived.replace(named)  # OpenVINO goes by the name's end
        convert(named, model.name, "pose" if model.task == "pose" else "segmenter", made)
        yield made
    finally:
        named.unlink(missing_ok=True)
        made.unlink(missing_ok=True)


def _choose(model: CatalogueModel, place: Path, pinned: str) -> Path:
    """The file in a folder that is the model: by its sum, else by its name."""
    names = [PurePosixPath(urlsplit(model.url).path).name, model.member if model.convert else model.file]
    try:
        if place.is_file():
            return place
        if not place.is_dir():
            raise ConfigError(
                f"{place} does not exist; give the file of {model.name}, or the folder it is in"
            )
        others = sorted(path for path in place.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigError(
            f"{str(place)[:80]} cannot be read ({error.strerror}): give another folder"
        ) from error
    named = [place / name for name in names if (place / name).is_file()]
    if not pinned:
        others = _of_known_size(model, others)
    for path in (*named, *others):
        with contextlib.suppress(OSError):  # what cannot be read is not the one
            sha256 = sum_of(path)
            if sha256 == pinned or (not pinned and model.knows(sha256)):
                return path
    if named:
        return named[0]
    raise ConfigError(
        f"{place} holds no file of {model.name}: neither {' nor '.join(dict.fromkeys(names))}, nor "
        "one of another name with its sum"
    )


def _of_known_size(model: CatalogueModel, files: list[Path]) -> list[Path]:
    """Of some files those that may be it by their size; all where a size is not known, none without a sum."""
    sizes = {one.size for one in model.files}
    return files if None in sizes else [path for path in files if path.stat().st_size in sizes]


def _manifest(model: CatalogueModel, receipt: Receipt) -> dict[str, object]:
    """A network's manifest, as it stands beside its file."""
    return {"graph": receipt.file, **(model.manifest or {})}


def _holds(path: Path, content: dict[str, object]) -> bool:
    """Whether a file is what `_write` makes of some content."""
    try:
        return path.read_bytes() == _text(content)
    except OSError:
        return False


def _write(path: Path, content: Receipt | dict[str, object]) -> None:
    """Write JSON, which YAML readers take as well, in one step."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(_text(content))
    part.replace(path)


def _text(content: Receipt | dict[str, object]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"

"""Embeddings of a data set, one file a sequence, so that a run which was stopped goes on where it was.

The files lie under `OUT/embeddings` by all that computed them: one bundle's embeddings are never taken for
another's, nor those of other frames or other models that find people, nor those of another data set or of
data that was changed since.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines.cache import replace_file
from gaitstream.errors import BundleError, ConfigError, EngineError, GaitstreamError, SourceError
from gaitstream.evaluate.dataset import WalkingSequence, load
from gaitstream.evaluate.embedding import inputs_of
from gaitstream.evaluate.options import EvaluationOptions
from gaitstream.models.bundle import Bundle
from gaitstream.models.manifest import Manifest
from gaitstream.models.recognizer import Recognizer
from gaitstream.parent import end_with_parent

Progress = Callable[[int, int], None]
CHUNK = 16
"""Sequences that a process is given at once; of videos fewer, so that there are some for each."""
_WRITING = threading.Lock()
"""Held while a file is written, so that a process that is left off leaves no part of one."""


class VideoEmbedder(Protocol):
    """Embeds videos; see `gaitstream.pipeline.sequences`."""

    def embed(self, video: Path) -> Floats:
        """The embedding of the person seen longest, `[parts, dim]`."""

    def close(self) -> None:
        """Free the engines."""


@dataclass(frozen=True)
class Videos:
    """What is done with videos; functions of a module, since other processes call them.

    Attributes:
        open: makes what embeds them, on so many threads.
        key: says what the models that find people are: another text for others.
    """

    open: Callable[[EvaluationOptions, int | None], VideoEmbedder]
    key: Callable[[EvaluationOptions], str]


@dataclass(frozen=True)
class Collected:
    """A data set's embeddings `[n, parts, dim]` in the order of its sequences, and what computed them."""

    embeddings: NDArray[np.float32]
    manifest: Manifest
    runtime: str
    precision: str


def collect(
    options: EvaluationOptions,
    sequences: Sequence[WalkingSequence],
    progress: Progress,
    videos: Videos | None,
) -> Collected:
    """Embed all sequences that were not embedded before.

    Raises:
        SourceError: a sequence is damaged, or was changed meanwhile.
        ConfigError: there are videos, and nothing to open them with; or nothing can be written to `--out`.
    """
    model = Recognizer.load(options.bundle, options.runtime, options.precision)
    manifest, runtime, precision = model.manifest, model.runtime, model.precision
    finders = videos if any(one.video is not None for one in sequences) else None
    folder = options.out / "embeddings" / f"{_made_by(model)}{_key(options, finders)}"
    with kept_in(options.out):
        folder.mkdir(parents=True, exist_ok=True)
    shape = manifest.embedding.parts, manifest.embedding.dim
    stored = ((one, _read(_path(folder, one), shape)) for one in sequences)
    kept = {one: embedding for one, embedding in stored if embedding is not None}
    missing = [one for one in sequences if one not in kept]
    done = len(sequences) - len(missing)
    if options.processes > 1 and len(missing) > (CHUNK if finders is None else 1):
        model.close()
        for count in _in_processes(options, folder, missing, videos):
            done += count
            progress(done, len(sequences))
    else:
        embedder = _Embedder(options, model, videos)
        for one in missing:
            embedder.keep(one, folder)
            done += 1
            progress(done, len(sequences))
        embedder.close()
    progress(len(sequences), len(sequences))
    for one in missing:
        embedding = _read(_path(folder, one), shape)
        if embedding is None:
            raise SourceError(
                f"{one.name} was changed while the data set was embedded: run it again; what is embedded of "
                "all others is kept"
            )
        kept[one] = embedding
    embeddings = np.stack([kept[one] for one in sequences])
    return Collected(embeddings, manifest, runtime, precision)


@contextmanager
def kept_in(out: Path) -> Iterator[None]:
    """Says what to do where something cannot be written to `--out`.

    Raises:
        ConfigError: so it is.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free some space and run it again: what is embedded is kept" if full else "give a folder"
        why = error.strerror or str(error)
        raise ConfigError(f"nothing can be written to --out {out}: {why}; {advice}") from error


class _Embedder:
    """Embeds sequences of either kind; what opens videos is asked at the first one."""

    def __init__(
        self,
        options: EvaluationOptions,
        model: Recognizer,
        videos: Videos | None,
        threads: int | None = None,
    ) -> None:
        self._options, self._model, self._threads = options, model, threads
        self._finders = videos
        self._videos: VideoEmbedder | None = None

    def keep(self, sequence: WalkingSequence, folder: Path) -> None:
        """Write a sequence's embedding, all of it or nothing.

        Raises:
            SourceError: the sequence is damaged, or its embedding is none.
        """
        path = _path(folder, sequence)  # of what the files are before they are read
        embedding = self._embed(sequence)
        if not np.isfinite(embedding).all():
            raise SourceError(
                f"{sequence.name}: its embedding holds NaN or infinity: export the bundle again, or run it "
                "in --precision fp32"
            )
        content = io.BytesIO()  # NumPy says of a full disk how many bytes, not why
        np.save(content, embedding)
        with _WRITING, kept_in(self._options.out):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content.getvalue())

    def close(self) -> None:
        """Free the engines."""
        self._model.close()
        if self._videos is not None:
            self._videos.close()

    def _embed(self, sequence: WalkingSequence) -> Floats:
        if sequence.video is None:
            arrays = load(sequence)
            try:
                inputs = inputs_of(
                    self._model.manifest, arrays, self._options.frames, [one.name for one in sequence.files]
                )
                return self._model.embed_inputs(inputs)
            except (SourceError, EngineError) as error:
                raise SourceError(f"{sequence.name}: {error}") from error
        if self._videos is None:
            if self._finders is None:
                raise ConfigError(f"{sequence.video} is a video, and nothing here opens videos")
            self._videos = self._finders.open(self._options, self._threads)
            if Bundle.open(self._options.bundle).fingerprint != self._model.fingerprint:
                raise _changed(self._options)
        return self._videos.embed(sequence.video)


def _in_processes(
    options: EvaluationOptions, folder: Path, missing: Sequence[WalkingSequence], videos: Videos | None
) -> Iterator[int]:
    """Embed in several processes, each with its share of the cores; how many sequences, chunk by chunk.

    After an error, and when the run is stopped, no further chunk is begun, and those at work are left off.

    Raises:
        GaitstreamError: a process was killed.
    """
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    has_videos = any(one.video is not None for one in missing)
    size = min(CHUNK, -(-len(missing) // options.processes)) if has_videos else CHUNK
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    context = get_context("spawn")
    over = context.Event()
    with ProcessPoolExecutor(
        options.processes, mp_context=context, initializer=_live_with_parent, initargs=(over,)
    ) as pool:
        waiting = [pool.submit(_embed_chunk, options, threads, folder, chunk, videos) for chunk in chunks]
        try:
            for one in as_completed(waiting):
                yield one.result()
        except BrokenProcessPool as error:
            raise GaitstreamError(
                f"one of the {options.processes} processes that embed was killed, which a machine does that "
                "runs out of memory; what is embedded is kept: run it again, with fewer --processes"
            ) from error
        finally:
            if not all(one.done() for one in waiting):
                over.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _live_with_parent(over: Event | None = None) -> None:
    """In a process that embeds: end when the one that started it is gone, and leave Ctrl-C to that one.

    Args:
        over: set once nothing that it does is wanted any more: a video may take minutes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if over is not None:
        threading.Thread(target=_leave, args=(over,), daemon=True).start()


def _leave(over: Event) -> None:
    over.wait()
    with _WRITING:
        os._exit(0)


def _embed_chunk(
    options: EvaluationOptions,
    threads: int,
    folder: Path,
    chunk: Sequence[WalkingSequence],
    videos: Videos | None,
) -> int:
    model = Recognizer.load(options.bundle, options.runtime, options.precision, threads)
    if not folder.name.startswith(_made_by(model)):
        raise _changed(options)
    embedder = _Embedder(options, model, videos, threads)
    for one in chunk:
        embedder.keep(one, folder)
    embedder.close()
    return len(chunk)


def _made_by(model: Recognizer) -> str:
    """Which bundle embeds, and what runs it."""
    return f"{model.fingerprint[:16]}-{model.runtime}-{model.precision}"


def _changed(options: EvaluationOptions) -> BundleError:
    return BundleError(f"{options.bundle} was changed while it was evaluated: run the evaluation again")


def _key(options: EvaluationOptions, videos: Videos | None) -> str:
    """What beside the bundle and its runtime decides an embedding.

    Raises:
        ConfigError: the site's file cannot be read, or a model of it.
    """
    frames = "" if options.frames is None else f"-{options.frames}"
    if videos is not None:
        frames += f"-{videos.key(options)[:8]}"
    if options.site is None:
        return frames
    try:
        site = f"{options.site.resolve()}\n".encode() + options.site.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"--cameras {options.site} cannot be read: {error.strerror or error}; give a cams.yaml"
        ) from error
    return f"{frames}-{hashlib.sha256(site).hexdigest()[:8]}"


def _path(folder: Path, sequence: WalkingSequence) -> Path:
    """Where a sequence's embedding lies: by its name, and its files' places, sizes and times.

    Raises:
        SourceError: a file is gone, or cannot be looked at.
    """
    digest = hashlib.sha256()
    for file in sequence.files:
        try:
            path, status = file.resolve(), file.stat()
        except OSError as error:
            raise SourceError(
                f"{file} was there and cannot be read any more: {error.strerror or error}; run it again: "
                "what is embedded is kept"
            ) from error
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return folder / sequence.name / f"{digest.hexdigest()[:16]}.npy"


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """A stored embedding; None where there is none, or a damaged one."""
    try:
        found = np.load(path)
    except Exception:  # noqa: BLE001 - damaged files raise anything at all
        return None
    whole = isinstance(found, np.ndarray) and found.shape == shape and found.dtype == np.float32
    return found if whole and np.isfinite(found).all() else None

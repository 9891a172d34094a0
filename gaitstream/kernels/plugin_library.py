"""The compiled TensorRT plugins: where the library lies, and loading it.

    load()          # before a network that holds our operators is parsed, and before such an engine is read

Opening the library is enough: it registers its operators itself, under the namespace of `onnx_op.DOMAIN`,
and stays loaded until the process ends. TensorRT's own library is opened with it, so import `tensorrt`
first where it does not lie on the system's search path.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from pathlib import Path

from gaitstream.errors import KernelError
from gaitstream.kernels.recipe import PREBUILT

log = logging.getLogger(__name__)

FILE = "libgaitstream_plugins.so"
IMAGE_FOLDER = "/opt/gaitstream-native"
"""Where the container image keeps native libraries, unless $GAITSTREAM_NATIVE says otherwise."""
PACKAGED = PREBUILT / FILE
"""Where a wheel has it that was built beside TensorRT."""


def native_folder() -> Path:
    """Where native libraries are looked for: `$GAITSTREAM_NATIVE`, or the image's folder."""
    return Path(os.environ.get("GAITSTREAM_NATIVE") or IMAGE_FOLDER)


def library_path() -> Path:
    """Where the library is looked for: in `native_folder()`, and where it is not there, in the package."""
    own = native_folder() / FILE
    return PACKAGED if PACKAGED.is_file() and not own.is_file() else own


def load(path: Path | None = None) -> Path:
    """Open the library, which registers its operators; doing it again does nothing.

    Args:
        path: of the library; None for `library_path()`.

    Returns:
        The path that was opened.

    Raises:
        KernelError: there is no library, or it or TensorRT's own does not load.
    """
    chosen = (path or library_path()).absolute()
    _open(str(chosen))
    return chosen


def load_if_there() -> bool:
    """Open the library where there is one; whether its operators can be used.

    The package's own may be for another TensorRT than this machine's; then they cannot.

    Raises:
        KernelError: it is there, put there on purpose, and does not load.
    """
    path = library_path()
    if not path.is_file():
        return False
    try:
        load(path)
    except KernelError as error:
        if path != PACKAGED:
            raise
        log.warning("%s", error)
        return False
    return True


@functools.cache
def _open(path: str) -> ctypes.CDLL:
    if not Path(path).is_file():
        raise KernelError(
            f"there is no {path}: compile it with scripts/docker/build-parser.sh, or name its folder in "
            "GAITSTREAM_NATIVE"
        )
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise KernelError(f"{path} does not load ({error}): is TensorRT's libnvinfer installed?") from error

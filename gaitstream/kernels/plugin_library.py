"""The compiled TensorRT plugins: where the library lies, and loading it.

    load()          # before a network that holds our operators is parsed, and before such an engine is read

Opening the library is enough: it registers its operators itself, under the namespace of `onnx_op.DOMAIN`,
and stays loaded until the process ends. TensorRT's own library is opened with it, so import `tensorrt`
first where it does not lie on the system's search path.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from gaitstream.errors import KernelError
from gaitstream.kernels.recipe import PREBUILT

FILE = "libgaitstream_plugins.so"
IMAGE_FOLDER = "/opt/gaitstream-native"
"""Where the container image keeps native libraries, unless $GAITSTREAM_NATIVE says otherwise."""


def library_path() -> Path:
    """Where the library is looked for: `$GAITSTREAM_NATIVE`, the package, the image's folder."""
    own = os.environ.get("GAITSTREAM_NATIVE")
    if own:
        return Path(own) / FILE
    packaged = PREBUILT / FILE
    return packaged if packaged.is_file() else Path(IMAGE_FOLDER) / FILE


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

    Raises:
        KernelError: it is there and does not load.
    """
    if not library_path().is_file():
        return False
    load()
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

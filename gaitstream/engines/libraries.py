"""Importing the library of a runtime, which may be absent, or there and of no use."""

from __future__ import annotations

import importlib
from typing import Any

from gaitstream.errors import EngineError


def import_working(name: str, holds: str) -> Any:
    """The Python module of a library that works.

    Args:
        name: of the module.
        holds: what it has where the library is whole; what an uninstall leaves imports as an empty package.

    Raises:
        ModuleNotFoundError: it is not installed.
        ImportError: it is, and does not load.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in (name, None):
            raise
        raise ImportError(str(error)) from error
    except Exception as error:  # a missing shared library may be an OSError, another numpy an AttributeError
        raise ImportError(str(error) or type(error).__name__) from error
    if not hasattr(module, holds):
        raise ImportError(f"the {name} package holds no libraries")
    return module


def import_openvino() -> Any:
    """OpenVINO's module.

    Raises:
        EngineError: it is not installed, or does not load.
    """
    try:
        return import_working("openvino", "Core")
    except ModuleNotFoundError as error:
        raise EngineError(
            "OpenVINO cannot be imported; it comes with the plain install: pip install openvino"
        ) from error
    except ImportError as error:
        raise EngineError(
            f"openvino does not load ({error}): install it again (pip install --force-reinstall openvino)"
        ) from error

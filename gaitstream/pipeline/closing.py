"""Letting go of several things, of all of them also where one fails at it."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


def close_all(*closers: Callable[[], object]) -> None:
    """Call all of these in their order; the first error is raised at the end, and further ones are logged."""
    first: Exception | None = None
    for close in closers:
        try:
            close()
        except Exception as error:  # what comes after it has work of its own to end
            if first is None:
                first = error
            else:
                log.exception("another error while the run was let go of")
    if first is not None:
        raise first

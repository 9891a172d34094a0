"""Where gaitstream keeps what it can make or fetch again: engines, kernels, timing caches, models.

    $GAITSTREAM_CACHE, else gaitstream under the user's cache folder ($XDG_CACHE_HOME, ~/.cache)

Everything below it may be deleted while nothing runs; models have to be fetched again then.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path:
    """The folder of one kind of thing, such as `engines`; it may not exist yet."""
    own = os.environ.get("GAITSTREAM_CACHE")
    root = Path(own) if own else platformdirs.user_cache_path("gaitstream", appauthor=False)
    return root / kind

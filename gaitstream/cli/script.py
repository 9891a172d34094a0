"""The end of a script outside the package: what is missing is one line, as at the end of a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gaitstream.errors import GaitstreamError

MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit; an unusable path or an error of ours is one line."""
    script = Path(sys.argv[0])
    try:
        raise SystemExit(main() or 0)
    except GaitstreamError as error:
        print(f"{script.name}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except MISSING as error:
        if error.filename is None:
            raise
        print(
            f"{script.name}: {error.filename}: {error.strerror}; give one that is there: "
            f"'python {script} --help' says what every option takes and what writes it",
            file=sys.stderr,
        )
        raise SystemExit(2) from error

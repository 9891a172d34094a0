"""How far a subscriber has come, to be saved and resumed from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gaitstream.errors import EventError


class Positions(msgspec.Struct, frozen=True):
    """How far a subscriber has come; save it with your own data to resume exactly there.

    Attributes:
        publishers: by id of the publisher's journal, the last number by epoch, newest epoch last.
    """

    publishers: dict[str, dict[str, int]]

    def to_json(self) -> str:
        """As a JSON object."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, data: str | bytes) -> Positions:
        """From `to_json`.

        Raises:
            EventError: it is something else.
        """
        try:
            return cls(_owned(msgspec.json.decode(data, type=cls).publishers))
        except (ValueError, RecursionError) as error:
            raise EventError(
                f"these are no saved positions ({error}); delete them to start anew, with "
                "since='beginning' or a time"
            ) from error

    def save(self, path: str | Path) -> None:
        """Replace a file with these positions; after a crash it holds either the old ones or the new.

        Raises:
            EventError: the file cannot be written.
        """
        target = Path(path)
        beside = target.with_name(f"{target.name}.{os.getpid()}.new")
        try:
            with beside.open("w") as file:
                file.write(self.to_json())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except OSError as error:
            raise EventError(f"{target}: positions cannot be saved ({error})") from error

    @classmethod
    def load(cls, path: str | Path) -> Positions | None:
        """From a file; None when there is none.

        Raises:
            EventError: it cannot be read, or holds something else.
        """
        try:
            return cls.from_json(Path(path).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EventError(f"{path}: positions cannot be read ({error})") from error
        except EventError as error:
            raise EventError(f"{path}: {error}") from error


def _owned(publishers: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Each publisher's own epochs.

    What older versions saved of several publishers may hold an epoch under all of them, with an old number
    under the others. It is the publisher's where it stands last; where it stands last nowhere, all keep it,
    with the largest number and in front, where it is taken for the oldest.
    """
    counts = Counter(epoch for epochs in publishers.values() for epoch in epochs if epoch)
    reached: dict[str, int] = {}
    for epochs in publishers.values():
        for epoch, seq in epochs.items():
            reached[epoch] = max(seq, reached.get(epoch, 0))
    newest = {next(reversed(epochs)) for epochs in publishers.values() if epochs}
    out = {}
    for publisher, epochs in publishers.items():
        last = next(reversed(epochs), "")
        unclear = [epoch for epoch in epochs if counts[epoch] > 1 and epoch not in newest]
        own = [epoch for epoch in epochs if counts[epoch] <= 1 or epoch == last]
        out[publisher] = {epoch: reached[epoch] if epoch else epochs[epoch] for epoch in unclear + own}
    return out

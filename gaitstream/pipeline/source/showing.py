"""Which of a picture's two times is right: containers such as AVI have no times of showing."""

from __future__ import annotations


class ShowingOrder:
    """Judges by the order that pictures come in, which is that of showing, as FFmpeg itself does.

    What FFmpeg makes up for packets without times of showing goes to and fro where pictures are coded in
    another order than they are shown; times of decoding then go on evenly.
    """

    def __init__(self) -> None:
        self._last_shown: int | None = None
        self._last_decoded: int | None = None
        self._faults = 0
        """Times of showing that went back, less times of decoding that did."""

    def time_of(self, shown: int | None, decoded: int | None) -> int | None:
        """The time of the next picture, None where it has none.

        Args:
            shown: its time of showing.
            decoded: of decoding.
        """
        if shown is not None:
            self._faults += self._last_shown is not None and shown <= self._last_shown
            self._last_shown = shown
        if decoded is not None:
            self._faults -= self._last_decoded is not None and decoded <= self._last_decoded
            self._last_decoded = decoded
        return shown if decoded is None or (shown is not None and self._faults <= 0) else decoded

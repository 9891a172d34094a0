"""What cameras and labels may be called."""

from __future__ import annotations

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""A letter or a digit, then up to 63 letters, digits, `_`, `.` and `-`: parts of topics and files."""

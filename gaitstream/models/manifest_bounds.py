"""What numbers may stand in the manifests of users' networks."""

from __future__ import annotations

from typing import Annotated

import msgspec

Index = Annotated[int, msgspec.Meta(ge=0)]
"""Of a class or a joint."""
Level = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
"""What is subtracted from pixels; bounded, so that it is a number."""
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
"""What pixels are divided by."""
Pixels = Annotated[int, msgspec.Meta(ge=1)]
Grey = Annotated[int, msgspec.Meta(ge=0, le=255)]

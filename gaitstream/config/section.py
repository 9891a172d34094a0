"""What every section of `cams.yaml` has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What every section has: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a password
    )

    @classmethod
    def allowed_keys(cls) -> list[str]:
        """The keys it takes."""
        return list(cls.model_fields)

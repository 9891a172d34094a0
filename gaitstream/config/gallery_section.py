"""What cams.yaml says of the gallery: who is known, for how long, and how sure one must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import (
    Field,
    model_validator,
)

from gaitstream.config.fields import (
    Days,
    FilePath,
    misfit,
)
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.section import Section

MOST_SHARDS = 1024
"""Parts of a gallery."""


class Retention(Section):
    """How long the gallery keeps what, enforced while the pipeline runs and by `gaitstream gallery sweep`."""

    person_days: Days | None = None
    """Days a person is kept from the first enrolment; `gallery keep` overrides it. null: for ever."""
    picture_days: Days | None = None
    """Days a picture of a person is kept. null: as long as the person."""
    visitor_days: Days | None = None
    """Days an unknown visitor is kept, from the first visit. null: for ever."""
    sighting_days: Days | None = 30.0
    """Days that is kept what was seen of visitors and people, where `visitors` is enabled; a visitor goes
    with the last of it. null: as long as whom it shows."""


class Visitors(Section):
    """Strangers who become visitors: `visitor-17` is the same unnamed person over cameras and days."""

    enabled: bool = False
    """Keep what is seen of strangers, and of people who are known, encrypted as templates are."""
    distance: Annotated[float, Field(gt=0)] | None = None
    """Largest mean distance at which a walk is that of an earlier visitor; with several models, in units of
    each one's calibrated threshold. null: from the calibrated threshold."""


class Shards(Section):
    """A gallery in parts, held by actors of a Ray cluster; `gaitstream plan --enrolled N` says when."""

    count: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    """Parts; each machine of the cluster may hold several."""
    replicas: Annotated[int, Field(ge=1, le=8)] = 1
    """Copies of each part, on different machines where there are as many."""
    address: str = "auto"
    """Of the Ray cluster: `auto` for the one this machine is part of, `HOST:PORT`, or `ray://HOST:PORT`."""


class GallerySection(Section):
    """Who is known, and how sure one must be."""

    path: FilePath | None = None
    """The gallery's file. null, and no `url`: nobody is known and every track says `no_gallery`."""
    url: SecretUrl | None = None
    """A gallery that is no file: `postgresql://user@host/database`, or another store's URL."""
    key: Annotated[str, Field(pattern=r"^(none|(file|env|command):.+)$")] | None = None
    """Where the gallery's key comes from: `file:PATH`, `env:NAME`, `command:WORDS`; `none` for a gallery that
    is not encrypted. null: `<path>.key`."""
    shards: Shards | None = None
    """Searched on several machines. null: every machine keeps all of it in memory."""
    retention: Retention = Retention()
    """What is erased when."""
    visitors: Visitors = Visitors()
    """What is kept of those who match nobody."""
    watchlist_only: bool = False
    """Never store what matches nobody: no events of such tracks, no pictures, and no `--save-video`."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Largest fused distance at which a person is known; with several models, in units of each one's
    calibrated threshold. null: the gallery's calibrated value."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Smallest lead over the second person, else `ambiguous`. null: the gallery's calibrated value."""
    threshold_gain: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """How much larger the threshold grows with evidence, as a share of it: n windows that share no frame are
    held against `threshold * (1 + threshold_gain * (1 - 1 / n))`. It belongs to a threshold for single
    windows; one calibrated from whole walks (`gallery calibrate --target-fpir`) has it in it already: 0."""

    @model_validator(mode="after")
    def _no_visitors_in_watchlist_mode(self) -> GallerySection:
        if self.watchlist_only and self.visitors.enabled:
            raise misfit("visitors are kept, which watchlist_only forbids: leave one out", "visitors")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> GallerySection:
        if self.path is not None and self.url is not None:
            raise misfit("path and url are both given; one of them says where the gallery is", "url")
        return self

    @property
    def where(self) -> Path | str | None:
        """What `gaitstream.gallery.Gallery` opens, with credentials; None without a gallery."""
        return self.path if self.url is None else self.url.reveal()

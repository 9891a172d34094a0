"""Who is known: what a run reads out of the gallery, and reads again when another process has changed it.

`GallerySnapshot` is what decisions compare with and does not change; `GalleryFollower` opens the gallery,
makes snapshots of it, and knows the thresholds.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.data import Embedding, Floats
from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.base import Mark
from gaitstream.gallery.matching import Matcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """What a camera decides with.

    Attributes:
        threshold: largest fused distance at which a person is known; None knows nobody.
        margin: smallest lead over the second person.
    """

    threshold: float | None
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """How one model's distances enter the fused distance.

    Attributes:
        weight: its share; shares of the models that have evidence are normalised to sum to one.
        unit: its distances are divided by this first; its calibrated threshold makes models comparable.
    """

    weight: float = 1.0
    unit: float = 1.0


@dataclass(frozen=True)
class GallerySnapshot:
    """Who is known at one time: each model's matcher over one common list of names.

    Attributes:
        names: everybody, sorted; the order of all distance vectors.
        matchers: by model.
        scales: by model.
        columns: by model, the index in `names` of each of its matcher's persons.
    """

    names: tuple[str, ...] = ()
    matchers: Mapping[str, Matcher] = field(default_factory=dict)
    scales: Mapping[str, ScoreScale] = field(default_factory=dict)
    columns: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, matchers: Mapping[str, Matcher], scales: Mapping[str, ScoreScale] | None = None
    ) -> GallerySnapshot:
        """From a gallery's matchers; where there are scales, a model without one is not compared with."""
        names = sorted({name for matcher in matchers.values() for name in matcher.names})
        index = {name: number for number, name in enumerate(names)}
        compared = {kind: one for kind, one in matchers.items() if scales is None or kind in scales}
        columns = {
            kind: np.array([index[name] for name in matcher.names], np.intp)
            for kind, matcher in compared.items()
        }
        return cls(tuple(names), compared, scales or {}, columns)

    def index(self, name: str) -> int | None:
        """Where a name stands in `names`; None when it is not known."""
        at = bisect.bisect_left(self.names, name)
        return at if at < len(self.names) and self.names[at] == name else None

    def distances(self, model: str, probes: Sequence[Floats]) -> Floats:
        """Distances of one model's embeddings to everybody, in one call.

        Args:
            model: whose embeddings they are.
            probes: `[parts, dim]` each.

        Returns:
            float32 `[probes, names]`; NaN for those without templates of this model.
        """
        out = np.full((len(probes), len(self.names)), np.nan, np.float32)
        matcher = self.matchers.get(model)
        if matcher is not None and matcher.names:
            for row, probe in zip(out, probes, strict=True):
                row[self.columns[model]] = matcher.distances(probe)
        return out

    def match(self, embeddings: Sequence[Embedding]) -> list[Floats]:
        """Distances of a batch of embeddings, of any tracks and models, to everybody.

        Returns:
            float32 `[names]` for each embedding, in their order.
        """
        out: list[Floats] = [np.empty(0, np.float32)] * len(embeddings)
        for model in dict.fromkeys(embedding.tracklet.model for embedding in embeddings):
            mine = [index for index, one in enumerate(embeddings) if one.tracklet.model == model]
            rows = self.distances(model, [embeddings[index].parts for index in mine])
            for index, row in zip(mine, rows, strict=True):
                out[index] = row
        return out


class GalleryFollower:
    """The gallery a run decides with; one thread at a time.

    Args:
        config: its path, thresholds and the weights of the models.
        fingerprints: of the models that run, by kind.

    Attributes:
        snapshot: who is known now.

    Raises:
        GalleryError: the gallery was filled by another model, or cannot be read.
    """

    def __init__(self, config: Config, fingerprints: Mapping[str, str]) -> None:
        self.snapshot = GallerySnapshot()
        self._config = config
        self._fingerprints = dict(fingerprints)
        self._gallery: Gallery | None = None
        self._mark = Mark()
        self._calibrated: tuple[float | None, float] = (None, 0.0)
        self._open()

    def adjust(self, config: Config) -> None:
        """Take over new thresholds and margins; another path takes effect at the next start only."""
        self._config = config

    def refresh(self) -> bool:
        """Read the gallery again when another process has changed it; True when it has.

        Raises:
            GalleryError: it cannot be read any more; the last snapshot stays.
        """
        if self._gallery is None:
            return self._open()
        if self._gallery.mark() == self._mark:
            return False
        self._read(self._gallery)
        return True

    def limits(self, camera: str) -> DecisionLimits:
        """Threshold and margin of a camera: its own, the site's, or the calibrated ones."""
        known = [entry for entry in self._config.cameras if entry.id == camera]
        gallery = self._config.gallery_for(known[0]) if known else self._config.gallery
        threshold, margin = self._calibrated
        return DecisionLimits(
            threshold if gallery.threshold is None else gallery.threshold,
            margin if gallery.margin is None else gallery.margin,
        )

    def close(self) -> None:
        """Let go of the gallery."""
        if self._gallery is not None:
            self._gallery.close()

    def _open(self) -> bool:
        """True when there is a gallery: enrolling makes it; until then every track says `no_gallery`."""
        self._gallery = open_configured(self._config)
        if self._gallery is None:
            return False
        self._read(self._gallery)
        return True

    def _read(self, gallery: Gallery) -> None:
        self._mark = gallery.mark()
        if gallery.models() and not set(gallery.models()) & set(self._fingerprints):
            raise GalleryError(
                f"{gallery.url} holds templates of {', '.join(gallery.models())}, this runs "
                f"{', '.join(self._fingerprints) or 'no recognizer'}; enrol into a new gallery"
            )
        matchers = {kind: gallery.matcher(kind, print_) for kind, print_ in self._fingerprints.items()}
        calibrated = {kind: gallery.thresholds(kind) for kind in matchers}
        weights = {kind: model.weight for kind, model in self._config.models.recognizers.items()}
        if len(matchers) > 1:
            for line in unscaled(gallery, list(matchers)):
                log.warning("%s", line)
            # In units of each model's own threshold, 1 is where they agree to be at it. A model without a
            # threshold has no unit: beside others it would change what the fused distance means.
            units = {kind: threshold for kind, (threshold, _) in calibrated.items() if threshold is not None}
            self.snapshot = GallerySnapshot.of(
                matchers, {kind: ScoreScale(weights.get(kind, 1.0), unit) for kind, unit in units.items()}
            )
            self._calibrated = (1.0 if units else None, 0.0)
        else:
            self.snapshot = GallerySnapshot.of(matchers)
            [(threshold, margin)] = calibrated.values() or [(None, None)]
            self._calibrated = (threshold, margin or 0.0)


def open_configured(config: Config, *, create: bool = False) -> Gallery | None:
    """The gallery a configuration names; None when it names none, or it is not there.

    Raises:
        GalleryError: it cannot be opened.
    """
    section = config.gallery
    if section.where is None:
        return None
    try:
        return Gallery(section.where, create=create, key=section.key)
    except MissingGalleryError:
        return None


def gallery_warnings(config: Config) -> list[str]:
    """What is wrong between a configuration's gallery and its models though both can be used, in words.

    Raises:
        GalleryError: the gallery cannot be read.
    """
    gallery = open_configured(config)
    if gallery is None:
        return []
    with gallery:
        return unscaled(gallery, list(config.models.recognizers))


def unscaled(gallery: Gallery, kinds: Sequence[str]) -> list[str]:
    """Of several models that run together, those with templates but no threshold of their own, in words.

    Their distances cannot be put on one scale with the others', so they take no part in decisions.
    """
    held = gallery.models()
    return [
        f"{gallery.url} has no calibrated threshold for {kind}, so its distances cannot be fused with those "
        f"of {', '.join(other for other in kinds if other != kind)}: {kind} takes no part until a second "
        "person, or a second template, is enrolled"
        for kind in kinds
        if len(kinds) > 1 and kind in held and gallery.thresholds(kind)[0] is None
    ]

"""Who is known: what a run decides with, kept up to date while other processes change the gallery."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gaitstream.config.gallery_section import GallerySection, Shards
from gaitstream.config.schema import Config
from gaitstream.data import Embedding, Floats
from gaitstream.engines.device import Device
from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.gallery import check_fingerprint
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.people import News, People, changed
from gaitstream.gallery.retention import RetentionRules
from gaitstream.gallery.shards_ray import connect, start_shards
from gaitstream.gallery.shards_server import ShardPlace
from gaitstream.gallery.upstream import Upstream, other_upstream
from gaitstream.models.resolve import find_bundle
from gaitstream.pipeline.ranking import ComparedWindow, Ranking, ScoreScale, Windows, rank
from gaitstream.pipeline.upstream import upstream_of

log = logging.getLogger(__name__)
UNIT_ERROR = 0.1
"""Of a square of 1: the scan's coarse templates are off by less, and embeddings of any length by more."""
MANY = 32
"""Changed people from which on a window is searched for again instead of compared with each."""


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """What a camera decides with.

    Attributes:
        threshold: largest fused distance at which a person is known; None knows nobody.
        margin: smallest lead over the second person.
        gain: how much larger the threshold grows, as a share of it, with windows that share no frame.
    """

    threshold: float | None
    margin: float = 0.0
    gain: float = 0.0

    def after(self, windows: int) -> DecisionLimits:
        """Those for a track of so many windows that share no frame; one changes nothing.

        The mean over several windows lies less far from its own mean: fewer strangers come as near as with
        one, and at the same rate of wrong names the threshold is larger, as 1 - 1 / windows.
        """
        if self.threshold is None or not self.gain or windows < 2:
            return self
        return replace(self, threshold=self.threshold * (1 + self.gain * (1 - 1 / windows)))


@dataclass(frozen=True)
class KnownPeople:
    """Who is known, and on which scale each model's distances enter decisions.

    Attributes:
        people: the gallery as this process sees it.
        scales: of the models that are compared; a model without one takes no part.
    """

    people: People = field(default_factory=People)
    scales: Mapping[str, ScoreScale] = field(default_factory=dict)

    @classmethod
    def of(
        cls, matchers: Mapping[str, Matcher], scales: Mapping[str, ScoreScale] | None = None
    ) -> KnownPeople:
        """From templates at hand, without a store."""
        kept = {model: ScoreScale() for model in matchers} if scales is None else scales
        return cls(People.of(matchers), kept)

    def match(self, embeddings: Sequence[Embedding]) -> list[ComparedWindow]:
        """Search for a batch of embeddings of any tracks, each model's in one call."""
        windows = [ComparedWindow.of(one) for one in embeddings]
        for model in dict.fromkeys(embedding.tracklet.model for embedding in embeddings):
            mine = [
                window for window, one in zip(windows, embeddings, strict=True) if one.tracklet.model == model
            ]
            if model in self.scales:
                found = self.people.search(model, [window.parts for window in mine])
                for window, nearest in zip(mine, found, strict=True):
                    window.nearest = nearest
        return windows

    def rank(self, windows: Windows, *, count: int, threshold: float | None = None, most: int = 0) -> Ranking:
        """The people nearest to a track; see `gaitstream.pipeline.ranking.rank`."""
        return rank(self.people, self.scales, windows, count=count, threshold=threshold, most=most)

    def compare_again(self, model: str, window: ComparedWindow, persons: Collection[int]) -> None:
        """Bring a window's search up to date after some people were changed."""
        for person in persons:
            window.exact.pop(person, None)
        if window.nearest is None or model not in self.scales:
            return
        if len(persons) > MANY:
            window.nearest = None
        else:
            changed(window.nearest, self.people, model, window.parts, persons)


class GalleryFollower:
    """The gallery a run decides with; one thread at a time.

    The gallery is kept in memory by a `Keeper`: one of its own, or that of another process of the machine.

    Args:
        config: where the gallery is, thresholds and the weights of the models.
        fingerprints: of the models that run, by name.
        feed: of the keeper of another process.
        device: where templates are scanned; None is the CPU.
        cosine: names of those models whose metric is the cosine.
        upstream: what finds the joints and masks that the models are given, by name.

    Attributes:
        known: who is known now.

    Raises:
        GalleryError: the gallery was filled by another model, or cannot be read.
    """

    def __init__(
        self,
        config: Config,
        fingerprints: Mapping[str, str],
        feed: str | None = None,
        device: Device | None = None,
        cosine: Collection[str] = (),
        upstream: Mapping[str, Upstream] | None = None,
    ) -> None:
        self._config = config
        self._upstream = dict(upstream or {})
        self._fingerprints = dict(fingerprints)
        self._calibrated: tuple[float | None, float] = (None, 0.0)
        self._told: set[str] = set()
        self._keeper: Keeper | None = None
        self._feed = feed
        if feed is not None:
            people = People.attach(feed)
        elif config.gallery.shards is not None:
            people = _in_shards(config.gallery, config.gallery.shards, self._fingerprints)
        else:
            self._keeper = start_keeper(config, self._fingerprints)
            people = self._keeper.people() if self._keeper is not None else People()
        if config.gallery.shards is None:  # shards scan in their own processes
            people.scan_on(device)
        self.known = KnownPeople(people)
        try:
            self._scale()
            for model in cosine:
                self._check_lengths(model)
        except BaseException:
            self.close()
            raise

    def adjust(self, config: Config) -> None:
        """Take over new thresholds and margins; another gallery takes effect at the next start only."""
        self._config = config

    def refresh(self) -> News:
        """Take over what has changed in the gallery; whom, and whether thresholds or scales did.

        Raises:
            GalleryError: it is another model's by now: nobody of it is known.
        """
        news = self.known.people.poll()
        if news.problem:
            log.error("%s; what is known goes on to be used", news.problem)
        elif news.problem is not None:
            log.info("the gallery can be followed again")
        if news.limits or news.persons:
            self._scale()
        return news

    def named(self) -> dict[int, str]:
        """Uids of those who have a name, by index; visitors have none."""
        people = self.known.people
        return {index: uid for index, uid in people.uids.items() if index not in people.visitors}

    def limits(self, camera: str) -> DecisionLimits:
        """Threshold and margin of a camera: its own, the site's, or the calibrated ones."""
        known = [entry for entry in self._config.cameras if entry.id == camera]
        gallery = self._config.gallery_for(known[0]) if known else self._config.gallery
        threshold, margin = self._calibrated
        if len(self._fingerprints) == 1:
            [own] = [self.known.people.camera_limits.get(model, {}) for model in self._fingerprints]
            threshold = own.get(camera, threshold)
        return DecisionLimits(
            threshold if gallery.threshold is None else gallery.threshold,
            margin if gallery.margin is None else gallery.margin,
            gallery.threshold_gain,
        )

    @property
    def feed(self) -> str | None:
        """By which others of this machine follow the same gallery; None where none is configured."""
        return self._keeper.feed.path if self._keeper is not None else self._feed

    def close(self) -> None:
        """Let go of the gallery."""
        self.known.people.close()
        if self._keeper is not None:
            self._keeper.close()

    def _check_lengths(self, model: str) -> None:
        """See `check_lengths`; shards keep their templates elsewhere."""
        table = self.known.people.tables.get(model)
        if table is not None:
            held = table.owners[: table.count] >= 0
            check_lengths(model, table.rows["norm"][: table.count][held], self._where)

    def _scale(self) -> None:
        """Which models are compared, and on which scale."""
        people = self.known.people
        scales: dict[str, ScoreScale] = {}
        self._calibrated = (None, 0.0)
        try:
            check_models(people.fingerprints, self._fingerprints, self._where)
            self._tell(_other_upstream(self._where, people.upstream, self._upstream))
            scales = self._scales()
        finally:
            if scales != self.known.scales:
                self.known = KnownPeople(people, scales)

    def _scales(self) -> dict[str, ScoreScale]:
        limits = {kind: self.known.people.limits.get(kind, (None, None)) for kind in self._fingerprints}
        thresholds = self._config.models.thresholds({kind: one[0] for kind, one in limits.items()})
        if len(self._fingerprints) < 2:
            [margin] = [one[1] for one in limits.values()] or [None]
            self._calibrated = (next(iter(thresholds.values()), None), margin or 0.0)
            return {kind: ScoreScale() for kind in limits}
        held = set(self.known.people.fingerprints)
        self._tell(_unscaled(self._where, held, thresholds))
        # In units of each model's own threshold, 1 is where they agree to be at it. A model without a
        # threshold has no unit: beside others it would change what the fused distance means.
        weights = {kind: model.weight for kind, model in self._config.models.recognizers.items()}
        units = {kind: threshold for kind, threshold in thresholds.items() if threshold is not None}
        self._calibrated = (1.0 if units else None, 0.0)
        return {kind: ScoreScale(weights.get(kind, 1.0), unit) for kind, unit in units.items()}

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                log.warning("%s", line)

    @property
    def _where(self) -> str:
        return str(self._config.gallery.url or self._config.gallery.path)


def check_models(held: Mapping[str, str], running: Mapping[str, str], where: str) -> None:
    """See that a gallery's templates can be compared with what runs.

    Args:
        held: fingerprints of the gallery's models, by name.
        running: of those that run.
        where: the gallery, for the message.

    Raises:
        GalleryError: it was filled by other models.
    """
    if held and not set(held) & set(running):
        raise GalleryError(
            f"{where} holds templates of {', '.join(held)}, this runs "
            f"{', '.join(running) or 'no recognizer'}; enrol into a new gallery"
        )
    for kind in sorted(set(held) & set(running)):
        check_fingerprint(kind, held[kind], running[kind], where)


def check_lengths(model: str, squares: Floats, where: str) -> None:
    """See that a gallery holds templates of a model whose metric is the cosine as they are compared now.

    Args:
        model: name of the recognizer.
        squares: of the lengths of its templates' parts, `[n, parts]`.
        where: the gallery, for the message.

    Raises:
        GalleryError: some are not of unit length, as earlier releases kept them.
    """
    wrong = ((squares > 0) & (np.abs(squares - 1) > UNIT_ERROR)).any(axis=1)
    if wrong.any():
        raise GalleryError(
            f"{where} was filled by {model} in an earlier release of gaitstream, which kept its embeddings "
            f"in another form: {int(wrong.sum())} of {len(squares)} templates cannot be compared with those "
            "of today; enrol into a new gallery"
        )


def start_keeper(config: Config, recognizers: Iterable[str]) -> Keeper | None:
    """Keep the configured gallery in memory and follow it; None when none is configured, or it is in shards.

    Args:
        config: names the gallery.
        recognizers: names of those whose templates are asked for.

    Raises:
        GalleryError: it cannot be opened, or a template is damaged.
    """
    section = config.gallery
    if section.where is None or section.shards is not None:
        return None
    keeper = Keeper(section.where, recognizers, section.key, _retention(section))
    keeper.start()
    return keeper


def _retention(section: GallerySection) -> RetentionRules:
    days = section.retention
    return RetentionRules(days.person_days, days.picture_days, days.visitor_days, days.sighting_days)


def _in_shards(section: GallerySection, shards: Shards, recognizers: Iterable[str]) -> People:
    """The gallery on a Ray cluster, whose actors are started where they are missing."""
    if section.where is None:
        return People()
    models, rules = tuple(sorted(recognizers)), _retention(section)
    connect(shards.address)
    places = [
        # What is past its time is erased by one of them.
        ShardPlace(section.where, section.key, models, number, shards.count, None if number else rules)
        for number in range(shards.count)
    ]
    return start_shards(places, shards.replicas)


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


def check_gallery(config: Config) -> None:
    """See that a configuration's gallery, where there is one, was filled by its models.

    Raises:
        ConfigError: a model is not there.
        BundleError: a bundle is incomplete.
        GalleryError: the gallery cannot be read, or was filled by other models.
    """
    models = config.models
    bundles = {
        kind: find_bundle(one.model, family=models.family(kind), verify=False)
        for kind, one in models.recognizers.items()
    }
    gallery = open_configured(config) if bundles else None
    if gallery is None:
        return
    with gallery:
        check_models(
            gallery.models(), {kind: bundle.fingerprint for kind, bundle in bundles.items()}, gallery.url
        )
        for kind, bundle in bundles.items():
            if bundle.manifest.embedding.by_cosine:
                templates = gallery.matcher(kind, bundle.fingerprint).templates
                check_lengths(kind, np.square(templates).sum(axis=-1), gallery.url)


def gallery_warnings(config: Config) -> list[str]:
    """What is wrong between a configuration's gallery and its models though both can be used, in words.

    Raises:
        GalleryError: the gallery cannot be read.
    """
    gallery = open_configured(config)
    if gallery is None:
        return []
    with gallery:
        calibrated = {kind: gallery.thresholds(kind)[0] for kind in config.models.recognizers}
        held = {kind: gallery.upstream(kind) for kind in config.models.recognizers}
        return [
            *_unscaled(gallery.url, set(gallery.models()), config.models.thresholds(calibrated)),
            *_other_upstream(gallery.url, held, upstream_of(config)),
        ]


def _other_upstream(
    where: str, held: Mapping[str, Iterable[Upstream]], running: Mapping[str, Upstream]
) -> list[str]:
    """Of which models joints or masks were found by others than those that run, in words."""
    told = (other_upstream(where, kind, held.get(kind, ()), given) for kind, given in running.items())
    return [line for line in told if line]


def _unscaled(where: str, held: Collection[str], thresholds: Mapping[str, float | None]) -> list[str]:
    """Of several models that run together, those with templates but no threshold of their own, in words.

    Their distances cannot be put on one scale with the others', so they take no part in decisions.
    """
    return [
        f"{where} has no calibrated threshold for {kind}, so its distances cannot be fused with those "
        f"of {', '.join(other for other in thresholds if other != kind)}: {kind} takes no part until a "
        "second person, or a second template, is enrolled"
        for kind, threshold in thresholds.items()
        if len(thresholds) > 1 and kind in held and threshold is None
    ]

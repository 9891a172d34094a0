"""The data sets' protocols by name, the figures they give, and what is published.

Sources: OpenGait's evaluators at 0efafd4 for the protocols, and that of the CCGR data set's authors
(ShinanZou/CCGR) for theirs; README and papers for the figures.
Percent throughout.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import ConfigError, GaitstreamError
from gaitstream.evaluate.distances import Metric, pairwise
from gaitstream.evaluate.protocols import (
    CCGR_EASY,
    CCPG,
    CrossCovariate,
    Sequences,
    casia_b,
    casia_b_cross_view,
    ccgr,
    ccpg,
    single_view,
    sustech1k,
)
from gaitstream.evaluate.retrieval import retrieve

OUMVLP_PROBES, OUMVLP_GALLERY = {"NM": ("00",)}, ("01",)
GREW_PROBES, GREW_GALLERY = ("02",), ("01",)
RANKS = (1, 5, 10, 20)
CCGR_RANKS = (1, 5)


@dataclass(frozen=True)
class Scores:
    """What a protocol gives.

    Attributes:
        figures: in percent, by name; the first is the one that tables quote.
        cmc: share of probes found among the first k, `[ranks]`, where there is one gallery.
        probes: that had a match to find there; 0 where there are several galleries.
    """

    figures: dict[str, float]
    cmc: NDArray[np.float64] | None = None
    probes: int = 0


@dataclass(frozen=True)
class Protocol:
    """A data set's test.

    Attributes:
        title: the data set.
        rule: embeddings of the test set, the metric, and the file that lists probes or gallery where
            the protocol has one, to what it gives.
        needs: which sequences there have to be, for messages.
    """

    title: str
    rule: Callable[[Sequences, Metric, Path | None], Scores]
    needs: str

    def check(self, labels: Iterable[ArrayLike], listed: Path | None) -> None:
        """See by the labels alone that everything is there, before hours are spent on embedding.

        Args:
            labels: identities, types and views of the test set.
            listed: the file that lists probes or gallery.

        Raises:
            ConfigError: the file that lists probes or gallery is not given or not such a file.
            GaitstreamError: the data set lacks sequences that the protocol needs.
        """
        ids, types, views = labels
        alike = np.zeros((len(np.asarray(ids)), 1, 1), np.float32)
        self.score(Sequences.of(alike, ids, types, views), "euc", listed)

    def score(self, data: Sequences, metric: Metric, listed: Path | None) -> Scores:
        """Score the embeddings of a test set; arguments as for `rule`.

        Raises:
            ConfigError: the file that lists probes or gallery is not given or not such a file.
            GaitstreamError: the data set lacks sequences that the protocol needs.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # means over pairs that there are not
                scores = self.rule(data, metric, listed)
        except ConfigError:
            raise
        except GaitstreamError as error:
            raise GaitstreamError(f"{error}\n{self._needed(data)}") from error
        empty = [name for name, value in scores.figures.items() if not np.isfinite(value)]
        if empty:
            raise GaitstreamError(
                f"no pairs of probe and gallery for {', '.join(empty)}\n{self._needed(data)}"
            )
        return scores

    def _needed(self, data: Sequences) -> str:
        types, views = (_some(sorted(set(names.tolist()))) for names in (data.types, data.views))
        return f"{self.title} needs {self.needs}; the data set has the types {types} and the views {views}"


def _some(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {name!r}: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _by_view(
    data: Sequences, probes: Mapping[str, tuple[str, ...]], gallery: tuple[str, ...], metric: Metric
) -> Scores:
    found = single_view(data, probes, gallery, metric=metric)
    figures = {f"{name} rank-1": pairs.rank1 for name, pairs in found.items()}
    return Scores(_with_mean(figures))


def _casia_b(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    figures = {f"{name} rank-1": pairs.rank1 for name, pairs in casia_b(data, metric).items()}
    return Scores(_with_mean(figures))


def _casia_b_cross(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    figures: dict[str, float] = {}
    for name, found in casia_b_cross_view(data, metric).items():
        figures |= {f"{name} rank-1": found.rank1, f"{name} mAP": found.mean_ap}
    return Scores(figures)


def _oumvlp(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    return _by_view(data, OUMVLP_PROBES, OUMVLP_GALLERY, metric)


def _sustech1k(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    """Conditions that the data set lacks are left out."""
    found = sustech1k(data, metric)
    overall = found.pop("Overall")
    figures = {f"{name} rank-1": pairs.rank1 for name, pairs in found.items()}
    return Scores(
        {
            "Overall rank-1": overall.rank1,
            "Overall rank-5": float(overall.rank_mean[-1]),
            **{name: value for name, value in figures.items() if not np.isnan(value)},
        }
    )


def _ccpg(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    """Both ways of counting: the gait protocol leaves out pairs of one camera; re-identification's."""
    gait: dict[str, float] = {}
    reid: dict[str, float] = {}
    for name, change in ccpg(data, metric).items():
        gait[f"{name} rank-1"] = change.cameras.rank1
        reid |= {
            f"{name} re-id rank-1": change.retrieval.rank1,
            f"{name} re-id mAP": change.retrieval.mean_ap,
        }
    mean = float(np.mean(list(gait.values())))
    return Scores({"mean rank-1": mean, **gait, **reid})


def _grew(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    """As published for rank-k, probes of people whom the gallery lacks count as not found."""
    probes = data.of_types(GREW_PROBES)
    found = _retrieval(probes, data.of_types(GREW_GALLERY), metric)
    share = found.probes / len(probes.ids)
    ranks = {name: value * share for name, value in found.figures.items() if name.startswith("rank")}
    cmc = None if found.cmc is None else found.cmc * share
    return Scores(found.figures | ranks, cmc, found.probes)


def _gait3d(data: Sequences, metric: Metric, listed: Path | None) -> Scores:
    """Probes are listed; everything else is the gallery."""
    probes = _is_listed(data, listed, "PROBE_SET", "Gait3D.json")
    return _retrieval(data.where(probes), data.where(~probes), metric)


def _ccgr_mini(data: Sequences, metric: Metric, listed: Path | None) -> Scores:
    """The gallery is listed; everything else is a probe."""
    gallery = _is_listed(data, listed, "GALLERY_SET", "CCGR-MINI.json")
    return _retrieval(data.where(~gallery), data.where(gallery), metric)


def _ccgr(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    """`hard` is over galleries of all conditions, `easy` over one of normal walking."""
    found = ccgr(data, metric)
    return Scores({f"hard rank-{k}": found.hard(k) for k in CCGR_RANKS} | _easy(found))


def _ccgr_easy(data: Sequences, metric: Metric, _: Path | None) -> Scores:
    return Scores(_easy(ccgr(data, metric, (CCGR_EASY,))))


def _easy(found: CrossCovariate) -> dict[str, float]:
    return {f"easy rank-{k}": found.easy(k) for k in CCGR_RANKS}


def _retrieval(probes: Sequences, gallery: Sequences, metric: Metric) -> Scores:
    if not len(probes.ids) or not len(gallery.ids):
        raise GaitstreamError(
            f"{len(probes.ids)} probes and {len(gallery.ids)} gallery sequences: the protocol needs both; "
            "check the types of the sequences"
        )
    distances = pairwise(probes.embeddings, gallery.embeddings, metric)
    found = retrieve(distances, probes.ids, gallery.ids, max_rank=max(RANKS))
    ranks = {f"rank-{k}": float(found.cmc[k - 1]) for k in RANKS if k <= len(found.cmc)}
    return Scores(
        {**ranks, "mAP": found.mean_ap, "mINP": found.mean_inp}, np.asarray(found.cmc), found.probes
    )


def _is_listed(data: Sequences, path: Path | None, key: str, usual: str) -> NDArray[np.bool_]:
    """Which sequences a data set's own file lists as `id-type-view`, bool `[n]`.

    Raises:
        ConfigError: it is not given or not such a file, or lists none of them, or sequences of people in the
            data set that are not there. People may be missing altogether: a part of the test set is tested.
    """
    if path is None:
        raise ConfigError(f"the protocol's {key} stands in {usual}: give it with --probes FILE")
    try:
        names = list(map(str, json.loads(path.read_text())[key]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} lists no {key}: {error}") from error
    mine = np.char.add(np.char.add(np.char.add(data.ids, "-"), np.char.add(data.types, "-")), data.views)
    mask = np.isin(mine, names)
    if not mask.any():
        raise ConfigError(f"none of the {len(names)} sequences of {path}'s {key} is in the data set")
    there, people = set(mine.tolist()), set(data.ids.tolist())
    lacking = [name for name in names if name not in there and name.partition("-")[0] in people]
    if lacking:
        raise ConfigError(
            f"the data set lacks {len(lacking)} sequences of {path}'s {key}, such as "
            f"{', '.join(lacking[:3])}: complete these people, or leave them out with --partition"
        )
    return mask


def _with_mean(figures: dict[str, float]) -> dict[str, float]:
    if len(figures) == 1:
        return figures
    return {"mean rank-1": float(np.mean(list(figures.values()))), **figures}


_CCPG = sorted({name for sides in CCPG.values() for names in sides for name in names})
PROTOCOLS: dict[str, Protocol] = {
    "casia-b": Protocol(
        "CASIA-B", _casia_b, "the types nm-01 to nm-06, bg-01, bg-02, cl-01 and cl-02 in two views or more"
    ),
    "casia-b-cross": Protocol(
        "CASIA-B, gallery of all views",
        _casia_b_cross,
        "the types nm-01, nm-02, bg-01, bg-02, cl-01 and cl-02 in two views or more",
    ),
    "ou-mvlp": Protocol("OU-MVLP", _oumvlp, "the types 00 (probes) and 01 (gallery) in two views or more"),
    "grew": Protocol("GREW", _grew, "the types 02 (probes) and 01 (gallery)"),
    "gait3d": Protocol("Gait3D", _gait3d, "sequences in PROBE_SET and others of the same people"),
    "ccpg": Protocol(
        "CCPG", _ccpg, f"the types {', '.join(_CCPG)} in two cameras or more (a view up to its first _)"
    ),
    "sustech1k": Protocol(
        "SUSTech1K",
        _sustech1k,
        "types with 00-nm (gallery) and with 01, 02, 03 or 04 (probes) in their names, in two views or more",
    ),
    "ccgr": Protocol("CCGR", _ccgr, f"the type {CCGR_EASY} and others in two views or more"),
    "ccgr-easy": Protocol(
        "CCGR, gallery of normal walking", _ccgr_easy, f"the type {CCGR_EASY} and others in two views or more"
    ),
    "ccgr-mini": Protocol("CCGR-MINI", _ccgr_mini, "sequences in GALLERY_SET and others of the same people"),
}
"""By the name that `gaitstream evaluate` takes."""


@dataclass(frozen=True)
class Published:
    """What is published of one protocol.

    Attributes:
        figures: the protocol's first figure by model family, percent.
        source: where they are from.
    """

    figures: Mapping[str, float]
    source: str


def published(protocol: str) -> Published:
    """The published figures of a protocol, from `published.json` beside this module."""
    data = _published()
    return Published(data["rank-1"].get(protocol, {}), data["source"])


def published_speed() -> dict[str, float]:
    """Milliseconds a tracklet of 30 frames takes the published code, by `family` or `family:variant`.

    PyTorch 2.13 in float32 on two threads of a CPU that was not this one.
    """
    speed: dict[str, float] = _published()["tracklet_ms"]
    return speed


def _published() -> Any:
    return json.loads(files("gaitstream.evaluate").joinpath("published.json").read_text())

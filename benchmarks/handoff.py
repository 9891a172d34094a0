"""Identities of a whole site, with hand-off between its cameras and without.

    python -m benchmarks.handoff out/handoff.json        the record of `benchmarks.handoff_world`
    python -m benchmarks.handoff --simulate              a walk-through of hours, drawn

The record is also played with cameras' clocks shifted. A simulated site has people who walk between six
cameras, on ways that take as long as log-normal distributions say, with gait distances drawn at random; it is
played with shifted clocks, too, and with ways that take twice as long after half of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.handoff_record import Heard, Record, read_record
from benchmarks.handoff_simulated import SimulatedSite, simulate
from gaitstream.evaluate.identities import IdentityScore, score_identities
from gaitstream.events import Event, IdentityCorrected, IdentityFinal, decode, encode
from gaitstream.fleet.handoff import HandOff, HandOffRules

S = 1_000_000_000
RULES = HandOffRules(horizon_s=600.0, lost_s=1.0)
Names = dict[tuple[str, str, int], str | None]


def final_names(record: Record, *, handing: HandOff | None) -> Names:
    """What is said in the end of each track, by the cameras alone or corrected."""
    names: Names = {}
    for heard in record.events:
        event = decode(bytes(heard.event))
        said: list[Event] = [event, *(handing.take(event, heard.arrived_ns) if handing is not None else ())]
        for one in said:
            if isinstance(one, IdentityFinal | IdentityCorrected):
                names[one.run, one.camera, one.track] = one.person
    return names


def score(record: Record, names: Names, since: int = 0) -> IdentityScore:
    """Judge the names; of tracks whose truth is known, from one on."""
    kept = [one for one in record.shown[since:] if one.truth is not None]
    return score_identities(
        [(one.truth or "", names.get((one.run, one.camera, one.track)), one.frames) for one in kept],
        record.enrolled,
    )


def shift(record: Record, seconds: dict[str, float]) -> Record:
    """The same, with cameras' clocks off; when events came stays."""
    return msgspec.structs.replace(record, events=[_shifted(heard, seconds) for heard in record.events])


def _shifted(heard: Heard, seconds: dict[str, float]) -> Heard:
    event = decode(bytes(heard.event))
    off_ns = round(seconds.get(getattr(event, "camera", ""), 0.0) * S)
    changes = {"time_ns": event.time_ns + off_ns}
    if getattr(event, "first_ns", 0):
        changes["first_ns"] = event.first_ns + off_ns  # type: ignore[attr-defined]
    return Heard(heard.arrived_ns, msgspec.Raw(encode(msgspec.structs.replace(event, **changes))))


def compare(title: str, record: Record) -> list[str]:
    """Rows of the table: without and with hand-off."""
    rows = []
    for how, handing in (("cameras alone", None), ("with hand-off", HandOff(RULES))):
        rows.append(row(title, how, score(record, final_names(record, handing=handing))))
    return rows


def row(title: str, how: str, found: IdentityScore) -> str:
    return (
        f"| {title} | {how} | {found.idf1:.3f} | {found.right} | {found.wrong} | {found.missed} | "
        f"{found.tracks} |"
    )


def print_table(rows: Iterable[str]) -> None:
    print("| site | decided by | IDF1 | right names | wrong names | no name | tracks |")
    print("|---|---|---:|---:|---:|---:|---:|")
    print("\n".join(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, nargs="?")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rows: list[str] = []
    if args.record is not None:
        record = read_record(args.record)
        rows += compare("synthetic world", record)
        off = {"cam2": -45.0, "cam5": 30.0}
        rows += compare("the same, clocks of two cameras off by -45 and +30 s", shift(record, off))
    if args.simulate:
        site = SimulatedSite(seed=args.seed, hours=args.hours)
        drawn = simulate(site)
        rows += compare("drawn", drawn)
        rows += compare("drawn, clocks off", shift(drawn, {"cam2": -45.0, "cam5": 30.0}))
        rows += compare("drawn, ways twice as long from half time", simulate(site, slower_from=0.5))
    print_table(rows)


if __name__ == "__main__":
    main()

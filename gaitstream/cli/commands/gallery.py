"""What the commands about the gallery do."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from gaitstream.cli.commands.tables import table_console
from gaitstream.config.output_sections import MOST_MINUTES, Evidence
from gaitstream.config.places import evidence_folder
from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError
from gaitstream.events.readable import one_line
from gaitstream.evidence.folder import EvidenceFolder
from gaitstream.evidence.forgetting import KeptEvidence, places_of
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.calibration import AIM, MOST_AIM, describe
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.editing import keep_until
from gaitstream.gallery.editing import merge as merge_people
from gaitstream.gallery.editing import rename as rename_person
from gaitstream.gallery.editing import show as show_person
from gaitstream.gallery.editing import split as split_person
from gaitstream.gallery.keys import NOTICE, make_key_file
from gaitstream.gallery.rekeying import rekey as rekey_gallery
from gaitstream.gallery.retention import DAY_NS, RetentionRules, utc
from gaitstream.gallery.retention import sweep as sweep_gallery
from gaitstream.gallery.site import calibrate_site, describe_site, drift_of
from gaitstream.gallery.transfer import Copied, copy, export, receiving
from gaitstream.gallery.upstream import describe_upstream
from gaitstream.gallery.verifying import duplicates as find_duplicates
from gaitstream.gallery.verifying import verify as verify_gallery
from gaitstream.gallery.visitors import visitors as list_visitors
from gaitstream.pipeline.forget import (
    Places,
    check_forgotten,
    check_places,
    check_report_path,
    read_report,
    write_report,
)
from gaitstream.pipeline.forget import forget as forget_person


def open_gallery(args: argparse.Namespace) -> Gallery:
    """The gallery that `--gallery` or `--cameras` names.

    Raises:
        ConfigError: the configuration names none.
        GalleryError: it cannot be opened.
    """
    where, key = _place(args)
    return Gallery(where, key=key)


def _place(args: argparse.Namespace) -> tuple[str | Path, str | None]:
    """Where the gallery is, and where its key comes from."""
    if args.gallery is not None:
        return args.gallery, args.key
    section = load_config(args.cameras).gallery
    if section.where is None:
        raise ConfigError(f"{args.cameras} names no gallery: add 'gallery: {{path: people.gallery}}'")
    return section.where, args.key or section.key


def list_people(args: argparse.Namespace) -> int:
    """`gallery list`."""
    with open_gallery(args) as gallery:
        table = Table("person", "since", "until", "templates", box=None)
        for entry in gallery.persons():
            templates = ", ".join(f"{n} {model}" for model, n in entry.templates.items())
            until = _day(entry.expires_ns) if entry.expires_ns else ""
            table.add_row(escape(entry.name), moment(entry.created_ns), until, templates)
        table_console().print(table)
        for model, fingerprint in gallery.models().items():
            threshold, margin = gallery.thresholds(model)
            limits = (
                "no threshold yet" if threshold is None else f"threshold {threshold:.4f}, margin {margin:.4f}"
            )
            print(f"{model} {fingerprint[:12]}: {limits}")
    return 0


def info(args: argparse.Namespace) -> int:
    """`gallery info`."""
    with open_gallery(args) as gallery:
        entries = gallery.persons()
        print(
            f"{gallery.url}: {len(entries)} people, {'encrypted' if gallery.encrypted else 'NOT ENCRYPTED'}"
        )
        for model, fingerprint in gallery.models().items():
            templates = sum(entry.templates.get(model, 0) for entry in entries)
            print(f"{model} {fingerprint[:12]}: {templates} templates")
            for upstream in gallery.upstream(model):
                print(f"  with {describe_upstream(upstream)}")
            found = gallery.calibration(model)
            if found is None:
                print("  no threshold yet: enrol a second person, or a second template")
                continue
            print(f"  threshold {found.threshold:.4f}, margin {found.margin:.4f}")
            for line in (*describe(found), *drift_of(gallery, model)):
                print(f"  {line}")
        damaged = gallery.damaged()
    for one in damaged:
        print(f"{one}; put a backup of the gallery in its place, or remove {one.person!r} and enrol again")
    return int(bool(damaged))


def calibrate(args: argparse.Namespace) -> int:
    """`gallery calibrate`."""
    target = args.target_fpir
    if target is not None and not 0 < target < MOST_AIM:
        raise ConfigError(f"--target-fpir {target:g}: give a share between 0 and {MOST_AIM}, such as 0.01")
    with open_gallery(args) as gallery:
        for model in gallery.models():
            if args.site:
                found_here = calibrate_site(gallery, model, target or AIM, keep=not args.dry_run)
                print(f"{model}: threshold {found_here.threshold:.4f}")
                print("\n".join(f"  {line}" for line in describe_site(found_here)))
                continue
            found = gallery.calibrate(model, target)
            print(f"{model}: " + (f"threshold {found.threshold:.4f}" if found else "no threshold yet"))
            for line in describe(found) if found else ():
                print(f"  {line}")
    return 0


def show(args: argparse.Namespace) -> int:
    """`gallery show`."""
    with open_gallery(args) as gallery, gallery.store.reading() as reading:
        uid, record, templates = show_person(gallery, reading, args.person)
        pictures = sum(1 for _ in reading.pictures(uid))
        kept = (
            _day(record.expires_ns) if record.expires_ns else "for ever, unless gallery.retention says less"
        )
        print(f"{record.name}, id {uid}, since {moment(record.created_ns)}, kept {kept}, {pictures} pictures")
        for template in templates:
            if isinstance(template, Damage):
                print(f"  template {template.template}: {template.model}, DAMAGED")
            else:
                print(
                    f"  template {template.number}: {template.model}, {moment(template.created_ns)}, "
                    f"from {template.source or 'an unnamed source'}"
                )
    return 0


def duplicates(args: argparse.Namespace) -> int:
    """`gallery duplicates`."""
    with open_gallery(args) as gallery:
        for model, fingerprint in gallery.models().items():
            for distance, one, other in find_duplicates(gallery, model, fingerprint):
                print(f"{model} {distance:.4f}: {one} and {other}; 'gallery merge' makes them one")
    return 0


def audit(args: argparse.Namespace) -> int:
    """`gallery audit`."""
    with open_gallery(args) as gallery, gallery.store.reading() as reading:
        for number, line in read_audit(reading, gallery.sealer):
            about = " ".join(filter(None, (line.person, line.model, line.detail)))
            count = f" {line.count}" if line.count else ""
            said = f"{number} {moment(line.time_ns)} {line.actor}: {line.action}{count} {about}".rstrip()
            print(one_line(said))
    return 0


def verify(args: argparse.Namespace) -> int:
    """`gallery verify`."""
    if args.forgotten is not None:
        report = read_report(args.forgotten)
        found = check_forgotten(report, *args.name)
        place = f"{len(report.places)} places of the report on {report.person}"
    else:
        with open_gallery(args) as gallery:
            found, place = verify_gallery(gallery), gallery.url
    for line in found:
        print(line)
    print(f"{place}: {f'{len(found)} faults' if found else 'nothing found' if args.forgotten else 'whole'}")
    return int(bool(found))


def rename(args: argparse.Namespace) -> int:
    """`gallery rename`."""
    with open_gallery(args) as gallery:
        rename_person(gallery, args.person, args.new)
    print(f"{args.person} is {args.new} now")
    return 0


def merge(args: argparse.Namespace) -> int:
    """`gallery merge`."""
    with open_gallery(args) as gallery:
        walks = _walks(gallery, args.other)
        count = merge_people(gallery, args.person, args.other)
        with gallery.store.reading() as reading:
            _, record = gallery.person(reading, args.person)
    print(f"{args.person} has {walks or _counted(count, 'template')} of {args.other}, who is gone")
    if record.expires_ns is not None:
        print(f"{args.person} is kept until {_day(record.expires_ns)}, the earlier time of the two")
    return 0


def split(args: argparse.Namespace) -> int:
    """`gallery split`."""
    try:
        numbers = [int(number) for number in args.templates.split(",")]
    except ValueError as error:
        raise ConfigError(f"--templates {args.templates}: give numbers such as 3,4") from error
    with open_gallery(args) as gallery:
        count = split_person(gallery, args.person, numbers, args.to)
    print(f"{count} templates of {args.person} are of {args.to} now")
    return 0


def keep(args: argparse.Namespace) -> int:
    """`gallery keep`."""
    expires_ns = None if args.days is None else time.time_ns() + int(args.days * DAY_NS)
    with open_gallery(args) as gallery:
        keep_until(gallery, args.person, expires_ns)
    print(f"{args.person} is kept {'for ever' if expires_ns is None else 'until ' + _day(expires_ns)}")
    return 0


def remove(args: argparse.Namespace) -> int:
    """`gallery remove`."""
    with open_gallery(args) as gallery:
        walks = _walks(gallery, args.person)
        count = gallery.remove(args.person)
        print(f"erased {args.person} with {walks or _counted(count, 'template')} from {gallery.url}")
    return 0


def _walks(gallery: Gallery, name: str) -> str:
    """How many walks a visitor has, in words; empty for a person, who has templates."""
    found = [entry.tracks for entry in list_visitors(gallery) if name in (entry.name, entry.uid)]
    return _counted(found[0], "walk") if found else ""


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def forget(args: argparse.Namespace) -> int:
    """`gallery forget`."""
    places = Places(tuple(args.journal), tuple(args.tracklets), _evidence_places(args))
    check_places(places)
    if args.report is not None:
        check_report_path(args.report)
    with open_gallery(args) as gallery:
        report = forget_person(gallery, args.person, places)
        print(
            f"erased person {report.person} from {gallery.url}: {report.templates} templates, "
            f"{report.pictures} pictures, {report.tracklets} saved tracks, evidence of {report.evidence} "
            f"tracks; the name from {report.events} events"
        )
    for line in report.remains:
        print(f"remains: {line}")
    if report.remains:
        print(f"erase the rest later with: gaitstream gallery forget {report.person}, and the places again")
    if args.report is not None:
        write_report(report, args.report)
        print(f"check with: gaitstream gallery verify --gallery ... --forgotten {args.report}")
    return int(bool(report.remains))


def sweep(args: argparse.Namespace) -> int:
    """`gallery sweep`."""
    rules = _rules(args)
    kept = _evidence_rules(args)
    with open_gallery(args) as gallery:
        done = sweep_gallery(gallery, rules, time.time_ns())
    print(
        f"erased {len(done.persons)} people, {done.templates} templates, {done.pictures} pictures and "
        f"{done.sightings} sightings"
    )
    if kept is not None:
        folder, evidence_rules = kept
        print(f"deleted the evidence of {EvidenceFolder(folder).sweep(evidence_rules)} tracks")
    return 0


def _evidence_places(args: argparse.Namespace) -> tuple[KeptEvidence, ...]:
    """The folders that the command line names, and the configuration's own."""
    own = places_of(load_config(args.cameras), args.cameras) if args.cameras is not None else ()
    return (*(KeptEvidence(path) for path in args.evidence), *own)


def _evidence_rules(args: argparse.Namespace) -> tuple[Path, Evidence] | None:
    """The folder whose evidence is past its time, and what the command line or else the file says of it.

    Raises:
        ConfigError: the command line names a folder that is not there, or another one.
    """
    if args.evidence is not None and not args.evidence.is_dir():
        raise ConfigError(f"--evidence {args.evidence}: there is no such folder; nothing was erased")
    if args.evidence is not None and not KeptEvidence(args.evidence).is_one():
        raise ConfigError(f"--evidence {args.evidence} is no folder of evidence; nothing was erased")
    config = load_config(args.cameras) if args.cameras is not None else None
    # How many of the last minutes are kept the file alone says: without it, as many as any may.
    rules = Evidence(keep_days=None, minutes=MOST_MINUTES) if config is None else config.evidence
    if args.evidence_days is not None:
        rules = rules.model_copy(update={"keep_days": args.evidence_days})
    folder = args.evidence or (evidence_folder(config, args.cameras) if config is not None else None)
    return (folder, rules) if folder is not None and folder.is_dir() else None


def _rules(args: argparse.Namespace) -> RetentionRules:
    """As the command line says, or else the configuration."""
    given = (args.person_days, args.picture_days, args.visitor_days, args.sighting_days)
    if args.cameras is None or any(days is not None for days in given):
        return RetentionRules(*given)
    kept = load_config(args.cameras).gallery.retention
    return RetentionRules(kept.person_days, kept.picture_days, kept.visitor_days, kept.sighting_days)


def copy_gallery(args: argparse.Namespace) -> int:
    """`gallery copy`."""
    with (
        Gallery(args.source, key=args.from_key) as source,
        receiving(args.target, args.to_key) as target,
    ):
        _tell_copied(copy(source, target), target.url)
    return 0


def export_file(args: argparse.Namespace) -> int:
    """`gallery export`."""
    with open_gallery(args) as gallery:
        _tell_copied(export(gallery, args.file, args.file_key), str(args.file))
    return 0


def import_file(args: argparse.Namespace) -> int:
    """`gallery import`."""
    with Gallery(args.file, key=args.file_key) as source, receiving(*_place(args)) as target:
        _tell_copied(copy(source, target, "imported"), target.url)
    return 0


def rekey(args: argparse.Namespace) -> int:
    """`gallery rekey`."""
    with open_gallery(args) as gallery:
        remains = rekey_gallery(gallery, args.to)
        print(f"{gallery.url} is {'sealed with the new key' if gallery.encrypted else 'NOT ENCRYPTED'} now")
    for line in remains:
        print(f"remains: {line}")
    return 0


def key(args: argparse.Namespace) -> int:
    """`gallery key`."""
    make_key_file(args.file)
    print(NOTICE.format(path=args.file))
    return 0


def _tell_copied(done: Copied, where: str) -> None:
    print(
        f"{done.persons} people, {done.templates} templates and {done.pictures} pictures are new in {where}"
    )


def moment(time_ns: int) -> str:
    """A time for people."""
    return utc(time_ns).strftime("%Y-%m-%d %H:%M UTC")


def _day(time_ns: int) -> str:
    return utc(time_ns).strftime("%Y-%m-%d")

"""People: who is known, and what is done about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from gaitstream.config.fields import Days
from gaitstream.console import people
from gaitstream.console.access import CurrentSite, PeopleForgetter, PeopleReader, PeopleWriter
from gaitstream.console.people import LONGEST_NAME, PersonDetails, ShownPerson, ShownReport

router = APIRouter(prefix="/people", tags=["people"])
PersonId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$", description="Id in the gallery.")]
TemplateNumber = Annotated[int, Field(ge=1, lt=1 << 63)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class Rename(BaseModel):
    """Another name."""

    name: Name


class MergeRequest(BaseModel):
    """Somebody who is the same person."""

    other_id: Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]


class Split(BaseModel):
    """Templates that are another person's."""

    templates: Annotated[list[TemplateNumber], Field(min_length=1, max_length=10_000)]
    name: Name


class RetentionTerms(BaseModel):
    """For how long somebody is kept, and on what ground. What is left out stays as it is."""

    days: Annotated[Days | None, Field(description="From now; null for ever.")] = None
    consent: Annotated[str | None, Field(max_length=LONGEST_NAME)] = None


class Moved(BaseModel):
    """How many templates have another owner now."""

    templates: int


@router.get("")
def list_people(site: CurrentSite, actor: PeopleReader) -> list[ShownPerson]:
    """Everybody who was enrolled by name."""
    return people.list_people(site, actor)


@router.get("/{person_id}")
def show_person(site: CurrentSite, actor: PeopleReader, person_id: PersonId) -> PersonDetails:
    """What is known of a person. The audit log notes who looked."""
    return people.show_person(site, actor, person_id)


@router.get("/{person_id}/pictures/{number}", response_class=Response)
def show_picture(
    site: CurrentSite,
    actor: PeopleReader,
    person_id: PersonId,
    number: Annotated[int, Path(ge=1, lt=1 << 63)],
) -> Response:
    """One picture, as JPEG."""
    return Response(people.picture(site, actor, person_id, number), media_type="image/jpeg")


@router.post("/{person_id}/name")
def rename(site: CurrentSite, actor: PeopleWriter, person_id: PersonId, asked: Rename) -> PersonDetails:
    """Give a person another name; events and templates stay theirs."""
    people.rename(site, actor, person_id, asked.name)
    return people.show_person(site, actor, person_id)


@router.post("/{person_id}/merge")
def merge(site: CurrentSite, actor: PeopleWriter, person_id: PersonId, asked: MergeRequest) -> Moved:
    """Two names, one person: the other is gone afterwards."""
    return Moved(templates=people.merge(site, actor, person_id, asked.other_id))


@router.post("/{person_id}/split")
def split(site: CurrentSite, actor: PeopleWriter, person_id: PersonId, asked: Split) -> Moved:
    """One name, two people: some templates become another's."""
    return Moved(templates=people.split(site, actor, person_id, asked.templates, asked.name))


@router.put("/{person_id}/terms")
def set_terms(
    site: CurrentSite, actor: PeopleWriter, person_id: PersonId, asked: RetentionTerms
) -> PersonDetails:
    """Say for how long and on what ground a person is kept."""
    if "days" in asked.model_fields_set:
        people.keep(site, actor, person_id, asked.days)
    if asked.consent is not None:
        people.note_consent(site, actor, person_id, asked.consent)
    return people.show_person(site, actor, person_id)


@router.delete("/{person_id}")
def forget(site: CurrentSite, actor: PeopleForgetter, person_id: PersonId) -> ShownReport:
    """Erase a person everywhere, and report what was erased and what remains."""
    return people.forget(site, actor, person_id)

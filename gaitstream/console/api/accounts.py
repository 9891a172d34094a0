"""Users and tokens; and one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gaitstream.console import users
from gaitstream.console.access import AccountWriter, CurrentActor, CurrentSite
from gaitstream.console.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, Token, User
from gaitstream.console.permissions import Permission, Role
from gaitstream.console.proving import prove
from gaitstream.console.refusals import ForbiddenError
from gaitstream.console.site import ConsoleSite

router = APIRouter(tags=["accounts"])
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
UserName = Annotated[str, Path(pattern=NAME)]
Password = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
Cameras = Annotated[
    list[Annotated[str, Field(max_length=64)]] | None,
    Field(max_length=1000, description="Ids of those they may see; null for all."),
]


class AccountTerms(BaseModel):
    """What somebody may do and see."""

    role: Role
    cameras: Cameras = None

    def visible(self) -> frozenset[str] | None:
        """The cameras as a set."""
        return None if self.cameras is None else frozenset(self.cameras)


class NewUser(AccountTerms):
    """Somebody to add."""

    name: Annotated[str, Field(pattern=NAME)]
    password: Password


class ShownUser(AccountTerms):
    """Somebody who may log in."""

    name: str
    created_ns: int


class NewPassword(BaseModel):
    """Another password of one's own."""

    current: Annotated[str, Field(max_length=LONGEST_PASSWORD)]
    new: Password


class ResetPassword(BaseModel):
    """Another password of somebody."""

    password: Password


class NewToken(BaseModel):
    """A token to make."""

    name: Annotated[str, Field(pattern=NAME)]
    scopes: Annotated[list[Permission], Field(min_length=1)]


class ShownToken(BaseModel):
    """A token, without what is shown once."""

    name: str
    user: str
    scopes: list[Permission]
    created_ns: int


class MadeToken(ShownToken):
    """A token that was just made."""

    token: str = Field(description="Shown this once.")


class Self(BaseModel):
    """Who one is."""

    name: str
    role: Role
    permissions: list[Permission]
    cameras: list[str] | None


@router.get("/self")
def show_self(actor: CurrentActor) -> Self:
    """Whose session or token this is, and what it may do."""
    cameras = None if actor.cameras is None else sorted(actor.cameras)
    return Self(name=actor.name, role=actor.role, permissions=sorted(actor.permissions), cameras=cameras)


@router.put("/self/password", status_code=204)
def set_own_password(request: Request, site: CurrentSite, actor: CurrentActor, asked: NewPassword) -> None:
    """Change one's own password; all sessions end. Tokens hold until they are revoked."""
    if actor.token:
        raise ForbiddenError("a token cannot change the password of its user; log in")
    if prove(site, request, actor.name, asked.current) is None:
        raise ForbiddenError("this is not the current password")
    site.accounts.set_password(actor.name, asked.new)


@router.get("/tokens")
def list_tokens(site: CurrentSite, actor: CurrentActor) -> list[ShownToken]:
    """One's own tokens."""
    return [_shown_token(token) for token in site.accounts.tokens(actor.name)]


@router.post("/tokens", status_code=201)
def add_token(site: CurrentSite, actor: CurrentActor, asked: NewToken) -> MadeToken:
    """Make a token of one's own; one made with a token has none of the scopes it lacks."""
    scopes = frozenset(asked.scopes)
    for scope in scopes:
        actor.need(scope)
    made = site.accounts.new_token(actor.name, asked.name, scopes)
    return _made(site, actor.name, asked.name, made)


@router.delete("/tokens/{name}", status_code=204)
def remove_token(site: CurrentSite, actor: CurrentActor, name: UserName) -> None:
    """Revoke a token of one's own."""
    site.accounts.remove_token(actor.name, name)


@router.get("/users")
def list_users(site: CurrentSite, _: AccountWriter) -> list[ShownUser]:
    """Everybody who may log in."""
    return [_shown_user(user) for user in site.accounts.users()]


@router.post("/users", status_code=201)
def add_user(site: CurrentSite, actor: AccountWriter, asked: NewUser) -> ShownUser:
    """Add somebody."""
    user, _ = users.add(site, actor, asked.name, asked.password, asked.role, asked.visible())
    return _shown_user(user)


@router.put("/users/{name}")
def change_user(site: CurrentSite, actor: AccountWriter, name: UserName, asked: AccountTerms) -> ShownUser:
    """Give somebody another role or other cameras."""
    return _shown_user(users.change(site, actor, name, asked.role, asked.visible()))


@router.put("/users/{name}/password", status_code=204)
def reset_password(site: CurrentSite, actor: AccountWriter, name: UserName, asked: ResetPassword) -> None:
    """Give somebody another password; all sessions and tokens of theirs end."""
    users.reset_password(site, actor, name, asked.password)


@router.get("/users/{name}/tokens")
def list_tokens_of(site: CurrentSite, _: AccountWriter, name: UserName) -> list[ShownToken]:
    """Somebody's tokens."""
    return [_shown_token(token) for token in site.accounts.tokens(site.accounts.require(name).name)]


@router.post("/users/{name}/tokens", status_code=201)
def add_token_of(site: CurrentSite, actor: AccountWriter, name: UserName, asked: NewToken) -> MadeToken:
    """Make a token that speaks with somebody's voice, with scopes that their role holds."""
    return _made(
        site, name, asked.name, users.add_token(site, actor, name, asked.name, frozenset(asked.scopes))
    )


@router.delete("/users/{name}/tokens/{token}", status_code=204)
def remove_token_of(site: CurrentSite, actor: AccountWriter, name: UserName, token: UserName) -> None:
    """Revoke a token of somebody."""
    users.remove_token(site, actor, name, token)


@router.delete("/users/{name}", status_code=204)
def remove_user(site: CurrentSite, actor: AccountWriter, name: UserName) -> None:
    """Remove somebody with sessions and tokens."""
    users.remove(site, actor, name)


def _shown_user(user: User) -> ShownUser:
    cameras = None if user.cameras is None else sorted(user.cameras)
    return ShownUser(name=user.name, role=user.role, cameras=cameras, created_ns=user.created_ns)


def _made(site: ConsoleSite, user: str, name: str, made: str) -> MadeToken:
    [token] = [one for one in site.accounts.tokens(user) if one.name == name]
    return MadeToken(**_shown_token(token).model_dump(), token=made)


def _shown_token(token: Token) -> ShownToken:
    return ShownToken(
        name=token.name, user=token.user, scopes=sorted(token.scopes), created_ns=token.created_ns
    )

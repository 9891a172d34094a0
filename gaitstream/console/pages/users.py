"""Who may log in: roles, cameras, passwords and tokens, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from gaitstream.console import users
from gaitstream.console.access import AccountWriter, CurrentSite
from gaitstream.console.accounts import LONGEST_PASSWORD, Token, User
from gaitstream.console.cameras import list_cameras
from gaitstream.console.pages.account import AskedToken, TokensView
from gaitstream.console.pages.moving import go_to
from gaitstream.console.permissions import PERMISSIONS, Actor, Role
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite

router = APIRouter()
Password = Annotated[str, Form(max_length=LONGEST_PASSWORD)]


@dataclass(frozen=True)
class TermsForm:
    """What somebody may do, and see."""

    role: Annotated[Role, Form()]
    everywhere: Annotated[bool, Form()] = False
    camera: Annotated[list[str] | None, Form(max_length=1000)] = None

    @property
    def cameras(self) -> frozenset[str] | None:
        """Those that may be seen; None for all."""
        return None if self.everywhere else frozenset(self.camera or ())


AskedTerms = Annotated[TermsForm, Depends()]


@dataclass(frozen=True)
class UserLine:
    """One of the users."""

    user: User
    tokens: int


@dataclass(frozen=True)
class UsersView:
    """What the list shows.

    Attributes:
        lines: everybody, by name.
        roles: that there are.
        cameras: that can be chosen.
        fresh_name: of the user who was just added.
        fresh_password: made for them, shown this once.
    """

    lines: list[UserLine]
    roles: Sequence[Role]
    cameras: list[str]
    fresh_name: str = ""
    fresh_password: str = ""


@dataclass(frozen=True)
class UserView:
    """What the page of one user shows.

    Attributes:
        user: who it is.
        roles: that there are.
        cameras: that can be chosen.
        tokens: of the user.
        scopes: that the user's role holds.
        tokens_at: address of the tokens.
        fresh_token: always empty: none was made yet.
    """

    user: User
    roles: Sequence[Role]
    cameras: list[str]
    tokens: list[Token]
    scopes: list[str]
    tokens_at: str
    fresh_token: str = ""


@router.get("/users")
def show(request: Request, site: CurrentSite, actor: AccountWriter) -> Response:
    """The list."""
    return render(request, "users.html", _list(site, actor))


@router.post("/users")
def add(
    request: Request,
    site: CurrentSite,
    actor: AccountWriter,
    name: Annotated[str, Form(max_length=64)],
    terms: AskedTerms,
) -> Response:
    """Add somebody, with a password that is shown once."""
    user, password = users.add(site, actor, name, "", terms.role, terms.cameras)
    return render(request, "users_list.html", _list(site, actor, user.name, password))


@router.get("/users/{name}")
def show_one(request: Request, site: CurrentSite, actor: AccountWriter, name: str) -> Response:
    """One user."""
    user = site.accounts.require(name)
    tokens = _tokens(site, user)
    view = UserView(
        user, tuple(Role), _cameras(site, actor, user), tokens.tokens, tokens.scopes, tokens.tokens_at
    )
    return render(request, "user.html", view)


@router.post("/users/{name}")
def change(
    request: Request, site: CurrentSite, actor: AccountWriter, name: str, terms: AskedTerms
) -> Response:
    """Give somebody another role or other cameras."""
    users.change(site, actor, name, terms.role, terms.cameras)
    return go_to(request, "/users", f"Changed {name}")


@router.post("/users/{name}/password")
def reset_password(request: Request, site: CurrentSite, actor: AccountWriter, name: str) -> Response:
    """Make another password and show it once; sessions and tokens end."""
    password, revoked = users.reset_password(site, actor, name)
    return render(request, "user_password.html", name=name, password=password, revoked=revoked)


@router.post("/users/{name}/remove")
def remove(request: Request, site: CurrentSite, actor: AccountWriter, name: str) -> Response:
    """Remove somebody."""
    users.remove(site, actor, name)
    return go_to(request, "/users", f"Removed {name}")


@router.post("/users/{user}/tokens")
def add_token(
    request: Request, site: CurrentSite, actor: AccountWriter, user: str, asked: AskedToken
) -> Response:
    """Make a token of somebody and show it once."""
    token = users.add_token(site, actor, user, asked.name, asked.scopes)
    return render(request, "account_tokens.html", _tokens(site, site.accounts.require(user), token))


@router.post("/users/{user}/tokens/{name}/revoke")
def revoke(request: Request, site: CurrentSite, actor: AccountWriter, user: str, name: str) -> Response:
    """Revoke a token of somebody."""
    users.remove_token(site, actor, user, name)
    return render(request, "account_tokens.html", _tokens(site, site.accounts.require(user)))


def _list(site: ConsoleSite, actor: Actor, name: str = "", password: str = "") -> UsersView:
    lines = [UserLine(user, len(site.accounts.tokens(user.name))) for user in site.accounts.users()]
    return UsersView(lines, tuple(Role), _cameras(site, actor), name, password)


def _cameras(site: ConsoleSite, actor: Actor, user: User | None = None) -> list[str]:
    """The cameras that can be chosen, with those that a user was given and that are away now."""
    given = user.cameras if user is not None and user.cameras is not None else frozenset()
    return sorted(given | {one.camera for one in list_cameras(site, actor)})


def _tokens(site: ConsoleSite, user: User, fresh_token: str = "") -> TokensView:
    scopes = sorted(permission.value for permission in PERMISSIONS[user.role])
    address = f"/users/{quote(user.name, safe='')}/tokens"
    return TokensView(site.accounts.tokens(user.name), scopes, address, fresh_token)

"""One's own password and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentActor, CurrentSite, cookie_of
from gaitstream.console.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, Token
from gaitstream.console.pages.login import set_cookie
from gaitstream.console.pages.moving import go_to
from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.proving import prove
from gaitstream.console.refusals import ForbiddenError
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError

router = APIRouter()
Password = Annotated[str, Form(max_length=LONGEST_PASSWORD)]


@dataclass(frozen=True)
class TokenForm:
    """A token to make."""

    name: Annotated[str, Form(max_length=64)]
    scope: Annotated[list[str] | None, Form()] = None

    @property
    def scopes(self) -> frozenset[Permission]:
        """What it may do."""
        return frozenset(one for one in Permission if one.value in (self.scope or ()))


AskedToken = Annotated[TokenForm, Depends()]


@dataclass(frozen=True)
class TokensView:
    """What is shown of a user's tokens.

    Attributes:
        tokens: of the user.
        scopes: that the user can give.
        tokens_at: address of the tokens.
        fresh_token: just made, shown this once; empty else.
    """

    tokens: list[Token]
    scopes: list[str]
    tokens_at: str = "/account/tokens"
    fresh_token: str = ""


@router.get("/account")
def show(request: Request, site: CurrentSite, actor: CurrentActor) -> Response:
    """The page."""
    return render(request, "account.html", _view(site, actor), shortest=SHORTEST_PASSWORD)


@router.post("/account/password")
def change_password(
    request: Request, site: CurrentSite, actor: CurrentActor, old: Password = "", new: Password = ""
) -> Response:
    """Change the password; sessions elsewhere are over then, tokens hold."""
    _no_token(actor)
    user = prove(site, request, actor.name, old)
    if user is None:
        raise ConsoleError("this is not the password you have now")
    site.accounts.set_password(actor.name, new)
    site.sessions.end(cookie_of(request))
    tokens = len(site.accounts.tokens(actor.name))
    left = f"; {tokens} of your tokens still hold: revoke those you do not know" if tokens else ""
    answer = go_to(request, "/account", f"The password is changed{left}")
    set_cookie(answer, site, site.sessions.start(user))
    return answer


@router.post("/account/tokens")
def add_token(request: Request, site: CurrentSite, actor: CurrentActor, asked: AskedToken) -> Response:
    """Make a token and show it once."""
    _no_token(actor)
    token = site.accounts.new_token(actor.name, asked.name, asked.scopes)
    return render(request, "account_tokens.html", _view(site, actor, token))


@router.post("/account/tokens/{name}/revoke")
def revoke(request: Request, site: CurrentSite, actor: CurrentActor, name: str) -> Response:
    """Revoke a token."""
    _no_token(actor)
    site.accounts.remove_token(actor.name, name)
    return render(request, "account_tokens.html", _view(site, actor))


def _view(site: ConsoleSite, actor: Actor, fresh_token: str = "") -> TokensView:
    scopes = sorted(permission.value for permission in actor.permissions)
    return TokensView(site.accounts.tokens(actor.name), scopes, fresh_token=fresh_token)


def _no_token(actor: Actor) -> None:
    """See that a person does this: a token must not make itself more, or another password.

    Raises:
        ForbiddenError: a token does.
    """
    if actor.token:
        raise ForbiddenError("a token cannot change the account; log in with the password")

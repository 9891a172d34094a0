"""Who may log in, as administrators change it; each change is in the gallery's audit log, if there is one."""

from __future__ import annotations

import secrets

from gaitstream.console.accounts import User
from gaitstream.console.permissions import Actor, Permission, Role
from gaitstream.console.site import ConsoleSite

Cameras = frozenset[str] | None


def add(
    site: ConsoleSite, actor: Actor, name: str, password: str, role: Role, cameras: Cameras
) -> tuple[User, str]:
    """Add somebody; the user, and the password: where none is given, one is made."""
    password = password or make_password()
    user = site.accounts.add(name, password, role, cameras)
    _note(site, actor, "user.added", _terms(user))
    return user, password


def change(site: ConsoleSite, actor: Actor, name: str, role: Role, cameras: Cameras) -> User:
    """Give somebody another role or other cameras."""
    user = site.accounts.change(name, role, cameras)
    _note(site, actor, "user.changed", _terms(user))
    return user


def reset_password(site: ConsoleSite, actor: Actor, name: str, password: str = "") -> tuple[str, int]:
    """Give somebody another password, which ends their sessions and tokens; where none is given, one is made.

    Returns the password, and how many tokens were revoked.
    """
    password = password or make_password()
    revoked = site.accounts.set_password(name, password, revoke=True)
    _note(site, actor, "user.password", f"{name}: {revoked} tokens revoked" if revoked else name)
    return password, revoked


def remove(site: ConsoleSite, actor: Actor, name: str) -> None:
    """Remove somebody with sessions and tokens."""
    site.accounts.remove(name)
    _note(site, actor, "user.removed", name)


def add_token(site: ConsoleSite, actor: Actor, user: str, name: str, scopes: frozenset[Permission]) -> str:
    """Make a token that speaks with somebody's voice; whoever makes it must hold its scopes, too.

    Raises:
        ForbiddenError: a token makes one that may do more than itself.
    """
    for scope in scopes:
        actor.need(scope)
    token = site.accounts.new_token(user, name, scopes)
    _note(site, actor, "token.added", f"{user}/{name}: {' '.join(sorted(scopes))}")
    return token


def remove_token(site: ConsoleSite, actor: Actor, user: str, name: str) -> None:
    """Revoke a token of somebody."""
    site.accounts.remove_token(user, name)
    _note(site, actor, "token.removed", f"{user}/{name}")


def make_password() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(15)


def _terms(user: User) -> str:
    seen = "all cameras" if user.cameras is None else " ".join(sorted(user.cameras)) or "no camera"
    return f"{user.name}: {user.role.value}, {seen}"


def _note(site: ConsoleSite, actor: Actor, action: str, detail: str) -> None:
    """A gallery that is away must not keep an administrator from shutting somebody out."""
    if site.desk.available():
        site.desk.note(actor.audit_name, action, detail=detail)

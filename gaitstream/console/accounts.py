"""Users of the console, their passwords, roles and cameras; and tokens of programs, in `accounts.db`."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from sqlite3 import IntegrityError
from typing import TYPE_CHECKING, Any

from gaitstream.console.database import Database
from gaitstream.console.permissions import PERMISSIONS, Actor, Permission, Role
from gaitstream.errors import ConsoleError, MissingExtraError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256
"""Characters; hashing more only costs time."""
TOKEN_PREFIX = "gst_"
HASHING = threading.BoundedSemaphore(2)
"""Passwords that are looked at at once: each takes 64 MiB."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
TABLES = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS user (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, cameras TEXT,
    created_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS session (
    digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES user(name),
    created_s REAL NOT NULL, seen_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS token (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL, user TEXT NOT NULL REFERENCES user(name),
    scopes TEXT NOT NULL, created_ns INTEGER NOT NULL, UNIQUE (user, name)
);
"""


@dataclass(frozen=True)
class User:
    """One who may log in.

    Attributes:
        name: as it is typed.
        role: what they may do.
        cameras: ids of the cameras they may see; None for all.
        created_ns: UTC nanoseconds.
    """

    name: str
    role: Role
    cameras: frozenset[str] | None
    created_ns: int

    def actor(self) -> Actor:
        """Who a browser of theirs acts for."""
        return Actor(name=self.name, role=self.role, permissions=PERMISSIONS[self.role], cameras=self.cameras)


@dataclass(frozen=True)
class Token:
    """What a program shows instead of a password."""

    name: str
    user: str
    scopes: frozenset[Permission]
    created_ns: int


class Accounts:
    """Users and tokens in one file; any thread.

    Args:
        folder: the console's state folder.

    Raises:
        ConsoleError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "accounts.db", TABLES)

    def secret(self) -> bytes:
        """The key that cookies are signed with, made once."""
        with self.database.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO setting (name, value) VALUES ('secret', ?)", (secrets.token_bytes(32),)
            )
            return bytes(db.execute("SELECT value FROM setting WHERE name = 'secret'").fetchone()[0])

    def ensure_administrator(self) -> str | None:
        """Make the user `admin` where there is no user yet; its password, or None when there are some."""
        if self.users():
            return None
        password = secrets.token_urlsafe(15)
        self.add("admin", password, Role.ADMINISTRATOR)
        return password

    def users(self) -> list[User]:
        """All, by name."""
        rows = self.database.rows("SELECT name, role, cameras, created_ns FROM user ORDER BY name")
        return [_user(row) for row in rows]

    def find(self, name: str) -> User | None:
        """The user of a name."""
        rows = self.database.rows("SELECT name, role, cameras, created_ns FROM user WHERE name = ?", (name,))
        return _user(rows[0]) if rows else None

    def add(self, name: str, password: str, role: Role, cameras: frozenset[str] | None = None) -> User:
        """Add a user.

        Raises:
            ConsoleError: the name is taken or no name, or the password is too short or too long.
        """
        if not _NAME.fullmatch(name):
            raise ConsoleError(f"{name!r} is no user's name; allowed: 1 to 64 letters, digits, _ . @ -")
        user = User(name, role, cameras, time.time_ns())
        row = (name, role.value, hash_password(password), _cameras_text(cameras), user.created_ns)
        try:
            with self.database.writing() as db:
                db.execute(
                    "INSERT INTO user (name, role, password, cameras, created_ns) VALUES (?, ?, ?, ?, ?)", row
                )
        except IntegrityError:
            raise ConsoleError(f"there is a user {name!r} already; choose another name") from None
        return user

    def remove(self, name: str) -> None:
        """Remove a user with sessions and tokens.

        Raises:
            ConsoleError: there is none, or it is the last administrator.
        """
        with self.database.writing() as db:
            self._keep_an_administrator(name)
            for table in ("session", "token"):
                db.execute(f"DELETE FROM {table} WHERE user = ?", (name,))
            db.execute("DELETE FROM user WHERE name = ?", (name,))

    def set_password(self, name: str, password: str, *, revoke: bool = False) -> int:
        """Give a user another password and end all sessions of theirs; how many tokens were revoked.

        Args:
            name: of the user.
            password: the new one.
            revoke: whether tokens of theirs end, too: whoever had the old password may have made some.
        """
        self.require(name)
        hashed = hash_password(password)
        with self.database.writing() as db:
            db.execute("UPDATE user SET password = ? WHERE name = ?", (hashed, name))
            db.execute("DELETE FROM session WHERE user = ?", (name,))
            return db.execute("DELETE FROM token WHERE user = ?", (name,)).rowcount if revoke else 0

    def change(self, name: str, role: Role, cameras: frozenset[str] | None) -> User:
        """Give a user another role or other cameras; it counts from the next request on."""
        with self.database.writing() as db:
            self.require(name)
            if role is not Role.ADMINISTRATOR:
                self._keep_an_administrator(name)
            db.execute(
                "UPDATE user SET role = ?, cameras = ? WHERE name = ?",
                (role.value, _cameras_text(cameras), name),
            )
        return self.require(name)

    def require(self, name: str) -> User:
        """The user of a name.

        Raises:
            ConsoleError: there is none.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(user.name for user in self.users())
            raise ConsoleError(f"there is no user {name!r}; there are {known}")
        return found

    def check(self, name: str, password: str) -> User | None:
        """The user, if the password is theirs; takes as long for a name that nobody has."""
        rows = self.database.rows("SELECT password FROM user WHERE name = ?", (name,))
        right = verify_password(rows[0][0] if rows else _nobody(), password)
        return self.find(name) if rows and right else None

    def new_token(self, user: str, name: str, scopes: frozenset[Permission]) -> str:
        """Make a token of a user; it is shown once and only its digest is kept.

        Raises:
            ConsoleError: the user does not hold a scope, or has a token of that name.
        """
        lacking = sorted(scope.value for scope in scopes - PERMISSIONS[self.require(user).role])
        if lacking or not scopes:
            raise ConsoleError(f"{user} cannot give a token the scopes {lacking}; give some the role holds")
        if not _NAME.fullmatch(name):
            raise ConsoleError(f"{name!r} is no token's name; allowed: 1 to 64 letters, digits, _ . @ -")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        row = (digest(token), name, user, json.dumps(sorted(scopes)), time.time_ns())
        try:
            with self.database.writing() as db:
                db.execute(
                    "INSERT INTO token (digest, name, user, scopes, created_ns) VALUES (?, ?, ?, ?, ?)", row
                )
        except IntegrityError:
            raise ConsoleError(f"{user} has a token {name!r} already; remove it first") from None
        return token

    def tokens(self, user: str | None = None) -> list[Token]:
        """Tokens of a user, or all."""
        rows = self.database.rows(
            "SELECT name, user, scopes, created_ns FROM token WHERE ?1 IS NULL OR user = ?1 "
            "ORDER BY user, name",
            (user,),
        )
        return [_token(row) for row in rows]

    def remove_token(self, user: str, name: str) -> None:
        """Revoke a token.

        Raises:
            ConsoleError: there is none.
        """
        with self.database.writing() as db:
            gone = db.execute("DELETE FROM token WHERE user = ? AND name = ?", (user, name)).rowcount
        if not gone:
            raise ConsoleError(f"{user} has no token {name!r}")

    def token_actor(self, token: str) -> Actor | None:
        """Who a token acts for: its scopes, as far as the user's role holds them still."""
        rows = self.database.rows(
            "SELECT name, user, scopes, created_ns FROM token WHERE digest = ?", (digest(token),)
        )
        found = _token(rows[0]) if rows else None
        user = self.find(found.user) if found else None
        if found is None or user is None:
            return None
        return Actor(
            name=user.name, role=user.role, permissions=PERMISSIONS[user.role] & found.scopes,
            cameras=user.cameras, token=found.name,
        )  # fmt: skip

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def _keep_an_administrator(self, name: str) -> None:
        """See that another one is left; within the transaction that takes this one away."""
        administrators = [user.name for user in self.users() if user.role is Role.ADMINISTRATOR]
        if self.require(name).name in administrators and len(administrators) == 1:
            raise ConsoleError(f"{name!r} is the last administrator; make another one first")


def digest(secret: str) -> bytes:
    """What is kept of a random secret of 256 bits; a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


def hash_password(password: str) -> str:
    """A password by argon2id.

    Raises:
        ConsoleError: it is too short or too long.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ConsoleError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, this has {len(password)}"
        )
    with HASHING:
        return _hasher().hash(password)


def verify_password(hashed: str, password: str) -> bool:
    """Whether a password is the one that was hashed."""
    from argon2.exceptions import VerificationError

    try:
        with HASHING:
            return len(password) <= LONGEST_PASSWORD and _hasher().verify(hashed, password)
    except VerificationError:
        return False


@lru_cache(1)
def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher
    except ImportError as error:
        raise MissingExtraError("argon2-cffi", "console", "the console's accounts") from error
    return PasswordHasher()


@lru_cache(1)
def _nobody() -> str:
    """A hash that no password has."""
    return _hasher().hash(secrets.token_urlsafe(32))


def _user(row: Any) -> User:
    name, role, cameras, created_ns = row
    return User(name, Role(role), None if cameras is None else frozenset(json.loads(cameras)), created_ns)


def _token(row: Any) -> Token:
    name, user, scopes, created_ns = row
    return Token(name, user, frozenset(map(Permission, json.loads(scopes))), created_ns)


def _cameras_text(cameras: frozenset[str] | None) -> str | None:
    return None if cameras is None else json.dumps(sorted(cameras))

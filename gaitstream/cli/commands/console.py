"""What `gaitstream console` does."""

from __future__ import annotations

import argparse
import getpass
import logging
import secrets
import sys
from dataclasses import replace
from pathlib import Path

from gaitstream.addresses import CONSOLE_PORT, DEFAULT_ENDPOINT
from gaitstream.config.places import journal_folder
from gaitstream.config.reading import load_config
from gaitstream.console.accounts import Accounts
from gaitstream.console.embedded import Companion, tell_first_password
from gaitstream.console.feed import Bus
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import PERMISSIONS, Permission, Role
from gaitstream.console.serving import address_of, free_port, serve
from gaitstream.errors import ConfigError

STATE = "console"


def serve_console(args: argparse.Namespace) -> int:
    """`gaitstream console`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = options_of(args)
    options.check()
    options = replace(options, port=options.port or free_port())
    tell_first_password(options.state)
    print(f"console at {address_of(options)}", flush=True)
    serve(options)
    return 0


def companion_of(args: argparse.Namespace) -> Companion:
    """The console that `gaitstream run --console` starts beside the run."""
    port = CONSOLE_PORT if args.console_port is None else args.console_port or free_port()
    return Companion(args.cameras, state_of(args), port)


def options_of(args: argparse.Namespace) -> ConsoleOptions:
    """A console's options from the command line, and from cams.yaml where that is named."""
    state = state_of(args)
    return ConsoleOptions(
        state=state,
        bus=_bus(args, state),
        cameras=args.cameras,
        gallery=args.gallery,
        key=args.key,
        history=args.history,
        journals=_journals(args),
        host=args.host,
        port=args.port,
        certificate=args.tls_certificate,
        certificate_key=args.tls_key,
        trusted_proxies=tuple(args.behind_proxy),
        names=tuple(args.name),
        keep_days=args.keep_days,
    )


def state_of(args: argparse.Namespace) -> Path:
    """The console's folder."""
    named: Path | None = getattr(args, "state", None)
    if named is not None:
        return named
    cameras: Path | None = getattr(args, "cameras", None)
    return Path(STATE) if cameras is None else cameras.resolve().parent / STATE


def list_users(args: argparse.Namespace) -> int:
    """`gaitstream console users list`."""
    for user in _accounts(args).users():
        seen = "all cameras" if user.cameras is None else ", ".join(sorted(user.cameras)) or "no camera"
        print(f"{user.name}  {user.role.value}  {seen}")
    return 0


def add_user(args: argparse.Namespace) -> int:
    """`gaitstream console users add`."""
    password, told = _new_password()
    _accounts(args).add(args.name, password, Role(args.role), _cameras(args))
    print(f"added {args.name}, {args.role}{told}")
    return 0


def change_user(args: argparse.Namespace) -> int:
    """`gaitstream console users change`."""
    _accounts(args).change(args.name, Role(args.role), _cameras(args))
    print(f"{args.name} is {args.role} now")
    return 0


def remove_user(args: argparse.Namespace) -> int:
    """`gaitstream console users remove`."""
    _accounts(args).remove(args.name)
    print(f"removed {args.name}")
    return 0


def set_password(args: argparse.Namespace) -> int:
    """`gaitstream console users password`."""
    accounts = _accounts(args)
    accounts.require(args.name)
    password, told = _new_password()
    revoked = accounts.set_password(args.name, password, revoke=True)
    tokens = f", revoked {revoked} tokens" if revoked else ""
    print(f"changed the password of {args.name}{tokens}{told}")
    return 0


def list_tokens(args: argparse.Namespace) -> int:
    """`gaitstream console tokens list`."""
    for token in _accounts(args).tokens():
        print(f"{token.user}  {token.name}  {', '.join(sorted(token.scopes))}")
    return 0


def add_token(args: argparse.Namespace) -> int:
    """`gaitstream console tokens add`."""
    accounts = _accounts(args)
    held = PERMISSIONS[accounts.require(args.user).role]
    print(accounts.new_token(args.user, args.name, _scopes(args.scope) if args.scope else held))
    return 0


def remove_token(args: argparse.Namespace) -> int:
    """`gaitstream console tokens remove`."""
    _accounts(args).remove_token(args.user, args.name)
    print(f"revoked {args.name} of {args.user}")
    return 0


def _accounts(args: argparse.Namespace) -> Accounts:
    return Accounts(state_of(args))


def _cameras(args: argparse.Namespace) -> frozenset[str] | None:
    return frozenset(args.camera) if args.camera else None


def _scopes(given: list[str]) -> frozenset[Permission]:
    try:
        return frozenset(map(Permission, given))
    except ValueError as error:
        raise ConfigError(f"--scope: {error}; there are {', '.join(Permission)}") from None


def _new_password() -> tuple[str, str]:
    """A password from the terminal, or from standard input; a random one, told, where both give none."""
    typed = (
        getpass.getpass("password (empty: make one): ")
        if sys.stdin.isatty()
        else sys.stdin.readline().strip()
    )
    if typed:
        return typed, ""
    made = secrets.token_urlsafe(15)
    return made, f"; the password, shown this once: {made}"


def _bus(args: argparse.Namespace, state: Path) -> Bus:
    endpoints, replay = args.events, args.replay
    if endpoints is None and args.cameras is not None:
        events = load_config(args.cameras).events
        endpoints, replay = [events.endpoint], replay or ([events.replay] if events.replay else None)
    return Bus(
        tuple(endpoints or [DEFAULT_ENDPOINT]),
        tuple(replay) if replay else None,
        args.events_key,
        tuple(args.server_key) if args.server_key else None,
        state / "events.cursor",
    )


def _journals(args: argparse.Namespace) -> tuple[Path, ...]:
    given = tuple(args.journal)
    if given or args.cameras is None:
        return given
    folder = journal_folder(load_config(args.cameras), args.cameras)
    return (folder,) if folder.is_dir() else ()

"""Who gets in, as whom, and what the console does about whoever should not."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import unescape
from pathlib import Path
from threading import Barrier

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gaitstream.console.access import COOKIE, SECURE_COOKIE
from gaitstream.console.accounts import TOKEN_PREFIX, Accounts
from gaitstream.console.app import create_app
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages.login import own_path
from gaitstream.console.permissions import PERMISSIONS, Permission, Role
from gaitstream.console.sessions import IDLE_S, LONGEST_S, Sessions
from gaitstream.console.site import ConsoleSite
from gaitstream.console.throttle import FORGOTTEN_S, Throttle, network_of
from gaitstream.console.throttle import LONGEST_S as LONGEST_WAIT_S
from gaitstream.errors import ConsoleError
from tests.console.conftest import BASE, PASSWORD, Browser, csrf_of, log_in


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path)


def test_the_first_start_makes_one_administrator_whose_password_works(accounts: Accounts) -> None:
    password = accounts.ensure_administrator()
    assert password is not None
    user = accounts.check("admin", password)
    assert user is not None
    assert user.role is Role.ADMINISTRATOR
    assert accounts.ensure_administrator() is None


@pytest.mark.usefixtures("real_passwords")
def test_passwords_are_kept_as_argon2_and_nothing_else_of_them(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("ada", PASSWORD, Role.VIEWER)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"$argon2id$" in kept
    assert PASSWORD.encode() not in kept
    assert accounts.check("ada", PASSWORD + "!") is None
    assert accounts.check("nobody", PASSWORD) is None
    assert (tmp_path / "accounts.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("ada", "short", "12 to 256"), ("ada", "x" * 257, "12 to 256"), ("a b", PASSWORD, "letters"),
     ("", PASSWORD, "letters"), ("../x", PASSWORD, "letters"), ("eve", PASSWORD, "already")],
)  # fmt: skip
def test_users_that_cannot_be_are_refused_in_words(
    accounts: Accounts, name: str, password: str, words: str
) -> None:
    accounts.add("eve", PASSWORD, Role.VIEWER)
    with pytest.raises(ConsoleError, match=words):
        accounts.add(name, password, Role.VIEWER)


def test_the_last_administrator_stays(accounts: Accounts) -> None:
    accounts.ensure_administrator()
    for change in (lambda: accounts.remove("admin"), lambda: accounts.change("admin", Role.VIEWER, None)):
        with pytest.raises(ConsoleError, match="last administrator"):
            change()
    accounts.add("other", PASSWORD, Role.ADMINISTRATOR)
    accounts.remove("admin")
    assert [user.name for user in accounts.users()] == ["other"]


@pytest.mark.parametrize("leave", ["remove", "change"])
def test_two_administrators_who_shut_each_other_out_at_once_leave_one(accounts: Accounts, leave: str) -> None:
    def go(name: str) -> None:
        together.wait()
        with suppress(ConsoleError):
            if leave == "remove":
                accounts.remove(name)
            else:
                accounts.change(name, Role.OPERATOR, None)

    for number in range(40):
        names = [f"one-{number}", f"two-{number}"]
        for name in names:
            accounts.add(name, PASSWORD, Role.ADMINISTRATOR)
        for user in accounts.users():
            if user.name not in names:
                accounts.remove(user.name)
        together = Barrier(2)
        with ThreadPoolExecutor(2) as both:
            list(both.map(go, names))
        assert [user.role for user in accounts.users()].count(Role.ADMINISTRATOR) == 1


def test_a_password_is_hashed_before_anybody_is_kept_waiting(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add("ada", PASSWORD, Role.VIEWER)
    accounts.add("ben", PASSWORD, Role.VIEWER)

    def slow_hash(password: str) -> str:
        with ThreadPoolExecutor(1) as other:
            other.submit(accounts.change, "ben", Role.OPERATOR, None).result(5)
        return password

    monkeypatch.setattr("gaitstream.console.accounts.hash_password", slow_hash)
    accounts.set_password("ada", "another password")
    assert accounts.require("ben").role is Role.OPERATOR


def test_a_session_ends_when_idle_when_old_and_with_a_new_password(accounts: Accounts) -> None:
    clock = Clock()
    sessions = Sessions(accounts, clock)
    user = accounts.add("ada", PASSWORD, Role.VIEWER)
    idle = sessions.start(user)
    clock.now_s += IDLE_S + 1
    assert sessions.find(idle) is None
    used = sessions.start(user)
    for _ in range(int(LONGEST_S / (IDLE_S / 2))):
        clock.now_s += IDLE_S / 2
        assert sessions.find(used) == user
    clock.now_s += IDLE_S / 2
    assert sessions.find(used) is None
    last = sessions.start(user)
    accounts.set_password("ada", "another password")
    assert sessions.find(last) is None


def test_a_session_holds_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.console.database.BUSY_S", 0.05)
    clock, accounts = Clock(), Accounts(tmp_path)
    sessions = Sessions(accounts, clock)
    user = accounts.add("ada", PASSWORD, Role.VIEWER)
    value = sessions.start(user)
    holding = sqlite3.connect(tmp_path / "accounts.db", isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    clock.now_s += IDLE_S / 2
    assert sessions.find(value) == user
    with pytest.raises(ConsoleError, match=r"locked.*see that its disk has room"):
        sessions.start(user)
    holding.close()
    clock.now_s += IDLE_S / 2 + 1
    assert sessions.find(value) is None
    accounts.close()


def test_a_cookie_that_was_not_signed_here_is_nothing(accounts: Accounts) -> None:
    sessions = Sessions(accounts)
    value = sessions.start(accounts.add("ada", PASSWORD, Role.VIEWER))
    token, _, signature = value.partition(".")
    for forged in ("", "x", token, f"{token}.", f"{token}x.{signature}", f"{token}.{signature}0", "ä.ö"):
        assert sessions.find(forged) is None
    assert sessions.find(value) is not None


def test_wrong_passwords_wait_longer_and_longer_until_all_is_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(3, clock)
    assert [throttle.begin("here") for _ in range(3)] == [0, 0, 0]
    waits = []
    for _ in range(12):
        waits.append(throttle.begin("here"))
        clock.now_s += waits[-1]
        assert throttle.begin("here") == 0
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == LONGEST_WAIT_S
    assert throttle.begin("elsewhere") == 0
    clock.now_s += FORGOTTEN_S + 1
    assert [throttle.begin("here") for _ in range(3)] == [0, 0, 0]


def test_a_password_of_ones_own_does_not_help_to_guess_those_of_others() -> None:
    throttle = Throttle(3, Clock())
    for name in ("ada", "ben", "cleo"):
        assert throttle.begin("here", name) == 0
    throttle.passed("here", "mine")
    assert throttle.begin("here", "ada") > 0
    throttle.passed("here", "ben")
    assert throttle.begin("here", "ada") == 0


@pytest.mark.parametrize(
    ("address", "counts_for"),
    [("10.0.0.7", "10.0.0.7"), ("::ffff:10.0.0.7", "10.0.0.7"), ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
     ("fe80::1%eth0", "fe80::/64"), ("testclient", "testclient")],
)  # fmt: skip
def test_a_network_of_addresses_is_one_guesser(address: str, counts_for: str) -> None:
    assert network_of(address) == counts_for


def test_many_guesses_at_once_are_no_more_than_one_after_the_other(
    anonymous: TestClient, site: ConsoleSite
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    csrf = csrf_of(anonymous.get("/login").text)

    def guess(number: int) -> int:
        form = {"csrf": csrf, "name": "ada", "password": f"wrong password {number}"}
        return int(anonymous.post("/login", data=form).status_code)

    with ThreadPoolExecutor(16) as guessers:
        answers = Counter(guessers.map(guess, range(40)))
    assert answers == {401: 5, 429: 35}


def test_whoever_has_a_session_cannot_guess_its_password_for_long(browser: Browser) -> None:
    client = browser()
    asked = {"current": "not this one at all", "new": "another password"}
    answers = [client.put("/api/v1/self/password", json=asked).status_code for _ in range(7)]
    assert answers == [403] * 5 + [429] * 2
    form = {"old": "not this one at all", "new": "another password"}
    assert client.post("/account/password", data=form).status_code == 429


@pytest.mark.parametrize(
    ("asked", "lands"),
    [("/events?camera=yard&status=known", "/events?camera=yard&status=known"),
     ("/events?person=Luc%C3%ADa+Ortega&since=2026-03-02T08%3A00%3A00Z",
      "/events?person=Luc%C3%ADa+Ortega&since=2026-03-02T08%3A00%3A00Z"),
     ("/events?a=%0d%0aSet-Cookie:x", "/events?a=%0d%0aSet-Cookie:x")],
)  # fmt: skip
def test_a_login_goes_back_to_the_filters_that_were_asked_for(
    anonymous: TestClient, site: ConsoleSite, asked: str, lands: str
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    form_page = anonymous.get(anonymous.get(asked).headers["location"]).text
    found = re.search(r'name="next" value="([^"]*)"', form_page)
    assert found is not None
    form = {"csrf": csrf_of(form_page), "name": "ada", "password": PASSWORD, "next": unescape(found[1])}
    answer = anonymous.post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, lands)


@pytest.mark.parametrize(
    "where",
    ["//evil.example?x", "/\\evil.example?x", "/events?\r\nX: y", "/events?a#b", "/events?a\\b", "?a"],
)
def test_a_login_goes_nowhere_else(where: str) -> None:
    assert own_path(where) == "/"


def test_a_login_ends_the_session_before_it(browser: Browser, app: FastAPI) -> None:
    client = browser()
    before = client.cookies[COOKIE]
    csrf = client.headers["X-CSRF-Token"]
    form = {"csrf": csrf, "name": "operator", "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 303
    thief = TestClient(app, base_url=BASE, cookies={COOKIE: before})
    assert thief.get("/api/v1/events").status_code == 401


def test_brute_force_at_the_door_is_slowed_down_also_for_who_knows_the_password(
    anonymous: TestClient, site: ConsoleSite
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    answers = [log_in(anonymous, "ada", f"wrong password {n}") for n in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert log_in(anonymous, "ada", PASSWORD) == 429


def test_the_door_says_the_same_of_wrong_names_and_wrong_passwords(
    anonymous: TestClient, site: ConsoleSite
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    csrf = csrf_of(anonymous.get("/login").text)
    said = [
        anonymous.post("/login", data={"csrf": csrf, "name": name, "password": "wrong password"}).text
        for name in ("ada", "nobody")
    ]
    assert said[0] == said[1]


def test_a_login_begins_a_new_session_in_a_cookie_that_scripts_cannot_read(
    anonymous: TestClient, site: ConsoleSite
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    csrf = csrf_of(anonymous.get("/login").text)
    before = anonymous.cookies[COOKIE]
    answer = anonymous.post("/login", data={"csrf": csrf, "name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert anonymous.cookies[COOKIE] != before
    assert anonymous.get("/events").status_code == 200


@pytest.fixture
def secure_app(tmp_path: Path) -> Iterator[FastAPI]:
    """A console that browsers reach by a proxy's TLS."""
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "secure", trusted_proxies=("127.0.0.1",)))
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    yield create_app(site)
    site.close()


def test_under_tls_the_cookie_is_this_hosts_alone_and_browsers_are_told_to_stay(secure_app: FastAPI) -> None:
    client = TestClient(secure_app, base_url="https://localhost", follow_redirects=False)
    answer = client.get("/login")
    assert "max-age" in answer.headers["strict-transport-security"]
    name, *terms = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-gaitstream_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(terms)
    assert not any(term.lower().startswith("domain") for term in terms)
    assert log_in(client, "ada", PASSWORD) == 303
    gone, *terms = client.post("/logout").headers["set-cookie"].split("; ")
    assert gone == '__Host-gaitstream_session=""'
    assert {"Secure", "Path=/", "Max-Age=0"} <= set(terms)


def test_under_tls_a_session_planted_by_a_neighbouring_host_is_none(secure_app: FastAPI) -> None:
    client = TestClient(secure_app, base_url="https://localhost", follow_redirects=False)
    assert log_in(client, "ada", PASSWORD) == 303
    session = client.cookies[SECURE_COOKIE]
    for name, status in ((COOKIE, 401), (SECURE_COOKIE, 200)):
        other = TestClient(secure_app, base_url="https://localhost", cookies={name: session})
        assert other.get("/api/v1/events").status_code == status


def test_after_logging_out_the_old_cookie_opens_nothing(browser: Browser, app: FastAPI) -> None:
    client = browser()
    stolen = client.cookies[COOKIE]
    assert client.post("/logout").status_code == 303
    thief = TestClient(app, base_url=BASE, cookies={COOKIE: stolen})
    assert thief.get("/api/v1/events").status_code == 401


@pytest.mark.parametrize(
    ("target", "goes"),
    [("/events", "/events"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/"),
     ("javascript:alert(1)", "/"), ("/%2F/evil.example", "/"), ("/events\r\nX: y", "/"), ("", "/")],
)  # fmt: skip
def test_after_a_login_nobody_is_sent_to_another_site(
    anonymous: TestClient, site: ConsoleSite, target: str, goes: str
) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    csrf = csrf_of(anonymous.get("/login", params={"next": target}).text)
    form = {"csrf": csrf, "name": "ada", "password": PASSWORD, "next": target}
    answer = anonymous.post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, goes)


def test_pages_send_strangers_to_the_door_and_programs_are_told_no(anonymous: TestClient) -> None:
    page = anonymous.get("/events")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/events")
    part = anonymous.get("/events", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")
    api = anonymous.get("/api/v1/events")
    assert (api.status_code, api.headers["www-authenticate"]) == (401, "Bearer")


def test_every_operation_but_the_login_asks_who_is_there(anonymous: TestClient) -> None:
    paths = anonymous.app.openapi()["paths"]  # type: ignore[attr-defined]
    asked = 0
    for path, operations in paths.items():
        for method in operations:
            answer = anonymous.request(method, path.replace("{", "").replace("}", ""), json={})
            assert answer.status_code in (401, 422), (method, path, answer.status_code)
            asked += 1
    assert asked > 30


@pytest.mark.parametrize("how", ["nothing", "wrong", "another session's", "wrong form", "another site"])
def test_a_change_that_no_page_of_ours_made_is_refused(browser: Browser, how: str) -> None:
    client = browser(Role.ADMINISTRATOR)
    token = client.headers.pop("X-CSRF-Token")
    headers = {
        "nothing": {},
        "wrong": {"X-CSRF-Token": "0" * 64},
        "another session's": {"X-CSRF-Token": browser(Role.OPERATOR).headers["X-CSRF-Token"]},
        "wrong form": {"Content-Type": "application/x-www-form-urlencoded"},
        "another site": {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"},
    }[how]
    body = {"name": "eve", "password": PASSWORD, "role": "administrator"}
    assert client.post("/api/v1/users", json=body, headers=headers).status_code in (403, 422)
    assert client.post("/logout", headers=headers).status_code == 403
    client.headers["X-CSRF-Token"] = token
    assert "eve" not in [user["name"] for user in client.get("/api/v1/users").json()]


def test_a_login_that_another_site_sends_is_refused(anonymous: TestClient, site: ConsoleSite) -> None:
    site.accounts.add("ada", PASSWORD, Role.VIEWER)
    anonymous.get("/login")
    answer = anonymous.post("/login", data={"csrf": "0" * 64, "name": "ada", "password": PASSWORD})
    assert answer.status_code == 403


def test_tokens_hold_their_scopes_and_no_more_than_the_role_and_need_no_csrf(
    browser: Browser, site: ConsoleSite, app: FastAPI
) -> None:
    operator = browser(Role.OPERATOR)
    asked = {"name": "robot", "scopes": ["events:read", "people:read"]}
    token = operator.post("/api/v1/tokens", json=asked).json()["token"]
    assert token.startswith(TOKEN_PREFIX)
    robot = TestClient(app, base_url=BASE, headers={"Authorization": f"Bearer {token}"})
    assert robot.get("/api/v1/people").status_code == 200
    assert robot.get("/api/v1/health").status_code == 403
    assert "health:read" in robot.get("/api/v1/health").json()["error"]
    assert robot.post("/api/v1/tokens", json={"name": "t", "scopes": ["clips"]}).status_code == 403
    assert operator.post("/api/v1/tokens", json={"name": "t", "scopes": ["audit:read"]}).status_code == 403
    site.accounts.change("operator", Role.VIEWER, None)
    assert robot.get("/api/v1/people").status_code == 403
    site.accounts.remove_token("operator", "robot")
    assert robot.get("/api/v1/events").status_code == 401
    assert token.encode() not in (site.options.state / "accounts.db").read_bytes()


def test_another_role_counts_from_the_next_request_on(browser: Browser, site: ConsoleSite) -> None:
    client = browser(Role.OPERATOR)
    assert client.get("/api/v1/people").status_code == 200
    site.accounts.change("operator", Role.VIEWER, None)
    assert client.get("/api/v1/people").status_code == 403
    site.accounts.add("boss", PASSWORD, Role.ADMINISTRATOR)
    site.accounts.remove("operator")
    assert client.get("/api/v1/events").status_code == 401


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_what_it_may_and_nothing_else(browser: Browser, role: Role) -> None:
    client = browser(role)
    may = PERMISSIONS[role]
    paths = {
        "/events": Permission.EVENTS_READ, "/health": Permission.HEALTH_READ,
        "/people": Permission.PEOPLE_READ, "/audit": Permission.AUDIT_READ,
        "/users": Permission.ACCOUNTS_WRITE,
    }  # fmt: skip
    for path, permission in paths.items():
        assert client.get(f"/api/v1{path}").status_code == (200 if permission in may else 403), path
    assert client.delete(f"/api/v1/people/{'0' * 20}").status_code == (
        404 if Permission.PEOPLE_FORGET in may else 403
    )


def test_ones_own_password_is_changed_with_the_old_one_and_ends_the_sessions(
    browser: Browser, anonymous: TestClient
) -> None:
    client = browser()
    wrong = {"current": "not this one at all", "new": "another password"}
    assert client.put("/api/v1/self/password", json=wrong).status_code == 403
    right = {"current": PASSWORD, "new": "another password"}
    assert client.put("/api/v1/self/password", json=right).status_code == 204
    assert client.get("/api/v1/self").status_code == 401
    assert log_in(anonymous, "operator", "another password") == 303


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 303), ("127.0.0.1:8470", 303), ("evil.example", 400), ("", 400)]
)
def test_on_loopback_other_host_names_are_not_answered(anonymous: TestClient, host: str, status: int) -> None:
    """A page of another site whose name was made to point at this machine gets nothing."""
    assert anonymous.get("/events", headers={"Host": host}).status_code == status


def test_every_answer_carries_the_policy_and_is_not_kept(browser: Browser) -> None:
    client = browser()
    for path in ("/events", "/login", "/api/v1/events", "/static/console.css", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert ("no-store" in headers.get("cache-control", "")) != path.startswith("/static")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "--tls-certificate"),
        ({"host": "192.168.1.5"}, "--behind-proxy"),
        ({"host": "console.example"}, "in clear"),
        ({"certificate": Path("cert.pem")}, "both"),
        ({"certificate": Path("a.pem"), "certificate_key": Path("b.pem")}, "is no file"),
    ],
)
def test_other_machines_without_tls_are_refused(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConsoleError, match=words):
        ConsoleOptions(tmp_path, **options).check()  # type: ignore[arg-type]


def test_loopback_and_proxies_are_taken(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        ConsoleOptions(tmp_path, host=host).check()
    ConsoleOptions(tmp_path, host="0.0.0.0", trusted_proxies=("10.0.0.1",)).check()


@pytest.mark.parametrize(
    ("host", "address"), [("::1", "[::1]:8470"), ("127.8.8.8", "127.8.8.8:8470"), ("127.0.0.1", "localhost")]
)
def test_the_address_that_is_listened_on_is_answered(tmp_path: Path, host: str, address: str) -> None:
    site = ConsoleSite.open(ConsoleOptions(tmp_path, host=host))
    client = TestClient(create_app(site), base_url=BASE)
    assert client.get("/login", headers={"Host": address}).status_code == 200
    assert client.get("/login", headers={"Host": "evil.example"}).status_code == 400
    site.close()

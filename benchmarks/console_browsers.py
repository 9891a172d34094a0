"""Browsers for `benchmarks.console_load`: many that watch and turn pages, and a real one that is timed."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

USER, PASSWORD = "watcher", "a password of the benchmark"
PAGE_EVERY_S = 2.0
PATIENCE_S = 30.0
LOOK_S = 0.2
IDLE_S = 2.0
"""After which a connection is not used again: the server closes idle ones, and httpx would not ask anew."""
TIMED = ("live", "events", "health", "cameras")


@dataclass
class Seen:
    """What one browser saw.

    Attributes:
        watching: its stream is open.
        delays_s: of the benchmark's events, by track: from publication until it was here.
        pages_s: how long each page took.
        dropped: events it was told of that it was too slow for.
    """

    watching: bool = False
    delays_s: dict[int, float] = field(default_factory=dict)
    pages_s: list[float] = field(default_factory=list)
    dropped: int = 0


def browse(base: str, browsers: int, watching: Path, over: Path) -> list[Seen]:
    """What some browsers see, in this process.

    Args:
        base: address of the console.
        browsers: how many.
        watching: a file that is made when all of them watch.
        over: a file whose making ends them.
    """
    return asyncio.run(_browse_all(base, browsers, watching, over))


async def _browse_all(base: str, browsers: int, watching: Path, over: Path) -> list[Seen]:
    seen = [Seen() for _ in range(browsers)]
    limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S)
    async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S, limits=limits) as client:
        await _log_in(client)
        tasks = [asyncio.create_task(work(client, one)) for one in seen for work in (_watch, _turn_pages)]
        while not over.exists():
            done, _ = await asyncio.wait(tasks, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # none ends by itself
            if all(one.watching for one in seen):
                watching.touch()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _watch(client: httpx.AsyncClient, seen: Seen) -> None:
    """Follow the stream."""
    async with client.stream("GET", "/stream", timeout=None) as stream:
        async for line in stream.aiter_lines():
            seen.watching = True
            if match := re.match(r'data: .*?"time_ns":(\d+).*?"track":(\d+)', line):
                seen.delays_s[int(match[2])] = (time.time_ns() - int(match[1])) / 1e9
            elif line.startswith("event: dropped"):
                seen.dropped += 1


async def _turn_pages(client: httpx.AsyncClient, seen: Seen) -> None:
    while True:
        asked_s = time.perf_counter()
        answer = await client.get("/events")
        answer.raise_for_status()
        seen.pages_s.append(time.perf_counter() - asked_s)
        await asyncio.sleep(PAGE_EVERY_S)


async def _log_in(client: httpx.AsyncClient) -> None:
    page = (await client.get("/login")).text
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    if match is None:
        raise RuntimeError("the login form has no token")
    answer = await client.post("/login", data={"csrf": match[1], "name": USER, "password": PASSWORD})
    if answer.status_code != 303:
        raise RuntimeError(f"the login failed: {answer.status_code}")


def time_pages(base: str, seconds: float) -> list[float]:
    """Seconds until pages were interactive in a real Chromium, in this process; none where there is none.

    Interactive is a page whose scripts have run, so that what one presses does something.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        return []
    from playwright.sync_api import sync_playwright

    took_s: list[float] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(base_url=base)
        page.goto("/login")
        page.get_by_label("User").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/live")
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            page.goto(f"/{TIMED[len(took_s) % len(TIMED)]}", wait_until="domcontentloaded")
            took_ms = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            took_s.append(took_ms / 1e3)
            page.wait_for_timeout(1000)
        browser.close()
    return took_s

"""Pictures of every page of a running console: for a look at them, and those of the documentation.

    gaitstream demo --console
    export PASSWORD=...   # of --user, by default the administrator whom the first start makes
    python scripts/console_pictures.py http://127.0.0.1:8470 --out pictures
    python scripts/console_pictures.py http://127.0.0.1:8470 --out docs/images --docs event review

Without `--docs` each page is taken whole at 1440 and 390 pixels of width, light and dark, as PNG. Needs
Playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from gaitstream.cli.script import run_script

Picture = NDArray[np.uint8]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PAGES = (
    "login", "live", "events", "review", "people", "enrol", "visitors", "search", "cameras", "cameras/new",
    "health", "calibration", "audit", "users", "account", "demo",
)  # fmt: skip
FIRST_OF = {
    "camera": ("live", "a.camera:has(img)"),
    "event": ("events?status=known", "tbody a[href^='/events/']"),
    "person": ("people", "tbody a[href^='/people/']"),
    "visitor": ("visitors", "a[href^='/visitors/']"),
    "user": ("users", "tbody a[href^='/users/']"),
}
"""Pages of one thing are found as the first link of a list: where that is, and which link."""
DESK, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
DOCS = {
    "live": ("live", ViewportSize(width=1440, height=660)),
    "camera": ("camera", ViewportSize(width=1280, height=800)),
    "event": ("event", ViewportSize(width=1280, height=800)),
    "review": ("review", ViewportSize(width=1280, height=800)),
}
"""Pictures of the documentation: a page and its window."""
PHONES, PHONE_WIDTH, GAP = ("live", "events", "review"), 312, 16
"""Pages side by side in one picture, how wide each is in it, and what is between them."""
SETTLED_MS = 1500
"""For pictures that a page fetches after it was loaded."""
QUALITY = 88


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", help="of the console")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--docs", nargs="+", choices=(*DOCS, "phone"), help="those of the documentation")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        camera = Camera(chromium, args.address, args.user, os.environ["PASSWORD"])
        if args.docs:
            camera.take_for_docs(args.docs, args.out)
        else:
            camera.take_all(args.out)


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise SystemExit("no Chromium; scripts/setup.sh installs Debian's")
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Camera:
    """Somebody who is logged in and takes pictures.

    Args:
        chromium: the browser.
        address: of the console.
        user: who logs in.
        password: of the user.
    """

    def __init__(self, chromium: Browser, address: str, user: str, password: str) -> None:
        self._chromium, self._address = chromium, address
        page = chromium.new_page(base_url=address)
        page.goto("/login")
        page.get_by_label("User").fill(user)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/live")
        self._state = page.context.storage_state()
        self._places = {name: name for name in PAGES} | first_links(page)
        page.context.close()

    def take_all(self, folder: Path) -> None:
        """Every page, whole, wide and narrow, light and dark."""
        for size in (DESK, PHONE):
            for scheme in SCHEMES:
                for name in self._places:
                    png = self.take(name, size, scheme, whole=True)
                    (folder / f"{name.replace('/', '-')}-{size['width']}-{scheme}.png").write_bytes(png)

    def take_for_docs(self, names: list[str], folder: Path) -> None:
        """Pictures of the documentation by their names."""
        for name in names:
            if name == "phone":
                picture = side_by_side([self.take(one, PHONE, "dark") for one in PHONES])
            else:
                page, size = DOCS[name]
                picture = decode(self.take(page, size, "light"))
            cv2.imwrite(str(folder / f"console-{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])

    def take(self, name: str, size: ViewportSize, scheme: Scheme, *, whole: bool = False) -> bytes:
        """One page as PNG.

        Args:
            name: of `PAGES` or `FIRST_OF`.
            size: of the window, pixels.
            scheme: of colours.
            whole: also what is below the window.
        """
        state = None if name == "login" else self._state
        context = self._chromium.new_context(
            base_url=self._address, storage_state=state, viewport=size, color_scheme=scheme,
            is_mobile=size is PHONE, has_touch=size is PHONE,
        )  # fmt: skip
        page = context.new_page()
        page.goto(f"/{self._places[name]}")
        page.wait_for_timeout(SETTLED_MS)
        png = page.screenshot(full_page=whole)
        context.close()
        return png


def first_links(page: Page) -> dict[str, str]:
    """Addresses of pages of one thing, by their names; of what is not there nothing."""
    found = {}
    for name, (listing, which) in FIRST_OF.items():
        page.goto(f"/{listing}")
        link = page.locator("main").locator(which).first
        if link.count():
            found[name] = (link.get_attribute("href") or "").lstrip("/")
    return found


def side_by_side(pngs: list[bytes]) -> Picture:
    """Pictures of phones next to each other on white."""
    height = round(PHONE["height"] * PHONE_WIDTH / PHONE["width"])
    gap = np.full((height, GAP, 3), 255, np.uint8)
    parts: list[Picture] = []
    for png in pngs:
        phone = cv2.resize(decode(png), (PHONE_WIDTH, height), interpolation=cv2.INTER_AREA)
        parts += [phone.astype(np.uint8), gap]
    return np.hstack(parts[:-1])


def decode(png: bytes) -> Picture:
    """A picture `[height, width, BGR]`, uint8."""
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise SystemExit("the browser's picture is none")
    return decoded.astype(np.uint8)


if __name__ == "__main__":
    run_script(main)

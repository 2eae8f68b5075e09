"""A headless Chromium, driven by Playwright, that records its requests."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from .lab import Lab

REQUIRED: Final = "AVOCADO_REQUIRE_BROWSER"
"""If this is 1, a missing browser is a failure and not a reason to skip."""
FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
WIDTH: Final = 960
HEIGHT: Final = 1400


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab, and every address outside of JupyterLab that it requested."""

    page: Any
    asked_elsewhere: list[str] = field(default_factory=list)


def find_chromium() -> str:
    """Return the path of the browser; skip if there is none, or fail if required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        _without("no chromium is on PATH (Debian's package is `chromium`)")
    for module in ("playwright.sync_api", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            _without(f"{module} is missing: pip install -e '.[test,browser]'")
    return found or ""


def _without(reason: str) -> None:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def new_tab(program: str, lab: Lab) -> Iterator[Tab]:
    """Open a tab; its requests to anywhere but JupyterLab are counted and refused."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5
            )
            tab = Tab(context.new_page())
            elsewhere = re.compile(rf"^(https?|wss?)://(?!127\.0\.0\.1:{lab.port}/)")

            def refuse(route: Any) -> None:
                tab.asked_elsewhere.append(route.request.url)
                route.abort()

            def note(socket: Any) -> None:
                if elsewhere.match(socket.url):
                    tab.asked_elsewhere.append(socket.url)

            context.route(elsewhere, refuse)
            tab.page.on("websocket", note)
            yield tab
        finally:
            browser.close()

"""Headless Chromium, driven by Selenium."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

MISSING = "Chromium or its driver is not on PATH: apt-get install chromium chromium-driver"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)


class Browser:
    """A browser that records the console messages and the requests of a page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self,
        page: Path | str,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        media: Literal["screen", "print"] = "screen",
    ) -> None:
        """Open a file or address and discard the records of earlier ones."""
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)
        self.driver.get(page if isinstance(page, str) else page.as_uri())
        self.settle()

    def command(self, name: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """Send a command of the Chrome DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def wait(self, script: str, seconds: float, *arguments: Any) -> None:  # noqa: ANN401 - JSON
        """Wait until the body of a JavaScript function returns a true value."""
        wanted = WebDriverWait(self.driver, seconds)
        wanted.until(lambda driver: driver.execute_script(script, *arguments), script)

    def enter(self, selector: str, seconds: float) -> None:
        """Wait for a frame of the page, in which scripts run from now on."""
        self.wait("return document.querySelector(arguments[0])", seconds, selector)
        self.driver.switch_to.frame(self.driver.find_element("css selector", selector))

    def settle(self) -> None:
        """Wait until pending changes are drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """Run the body of a JavaScript function in the page and return its result."""
        return self.driver.execute_script(script, *arguments)

    def picture(self, selector: str, margin: int = 20) -> bytes:
        """Return a PNG of the visible part of an element, with a margin left and right."""
        box = self.run(
            """
            const [selector, margin] = arguments;
            for (const image of document.images) image.loading = "eager";
            return Promise.all([...document.images].map((image) => image.decode())).then(() => {
              const node = document.querySelector(selector);
              node.scrollIntoView({behavior: "instant"});
              const box = node.getBoundingClientRect();
              const left = Math.max(0, box.left - margin);
              return {
                x: left + scrollX,
                y: box.top + scrollY,
                width: Math.min(innerWidth, box.right + margin) - left,
                height: Math.min(innerHeight, box.bottom) - box.top,
                scale: 1,
              };
            });
            """,
            selector,
            margin,
        )
        shot = self.command("Page.captureScreenshot", format="png", clip=box)
        return base64.b64decode(shot["data"])

    def console(self) -> list[str]:
        """Return the console messages since the last call, with violations of the CSP."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Return the URLs of files and servers requested since the last call.

        Requests that the CSP blocked were never sent; they are console messages.
        """
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        refused = {
            event["params"]["requestId"]
            for event in events
            if event["method"] == "Network.loadingFailed"
            and event["params"].get("blockedReason") == "csp"
        }
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
            and event["params"]["requestId"] not in refused
        ]
        return [url for url in urls if not url.startswith(("data:", "about:"))]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


def find_chromium() -> tuple[str, str] | None:
    """Return the paths of Chromium and its driver, or None if either is missing."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (program, driver) if program and driver else None


@contextmanager
def launch(profile: Path) -> Iterator[Browser]:
    """Run a browser with its own profile folder.

    Raises:
        FileNotFoundError: If Chromium or its driver is not on PATH.
    """
    programs = find_chromium()
    if not programs:
        raise FileNotFoundError(MISSING)
    program, driver = programs
    options = Options()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options, Service(driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()

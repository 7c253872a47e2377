"""A real browser without a window: Debian's Chromium, driven by Selenium."""

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
    """A browser that records what a page logs and requests."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self,
        page: Path,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        media: Literal["screen", "print"] = "screen",
    ) -> None:
        """Open a page, and discard the records of earlier ones."""
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
        self.driver.get(page.as_uri())
        self.settle()

    def command(self, name: str, **arguments: Any) -> Any:  # noqa: ANN401 - of the protocol
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def settle(self) -> None:
        """Wait until pending updates are drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        """Run the body of a function in the page, and return its result."""
        return self.driver.execute_script(script, *arguments)

    def picture(self, selector: str, margin: int = 20) -> bytes:
        """Return a PNG of the visible part of an element, with margins at both sides."""
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
        """Return what pages logged since the last call, including violations of the policy."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that pages requested since the last call.

        Requests that the policy blocked were not sent; they are logged instead.
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


@contextmanager
def launch(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program, "the tests need Chromium: apt-get install chromium chromium-driver"
    assert driver, "the tests need its driver: apt-get install chromium-driver"
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

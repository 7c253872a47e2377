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
    """A browser that hears what a page logs and what it asks of the network."""

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
        """Show a page, forgetting what earlier ones did."""
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
        """Send a command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def settle(self) -> None:
        """Wait until the page has drawn what is pending."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        """Return what the body of a function gives in the page."""
        return self.driver.execute_script(script, *arguments)

    def picture(self, selector: str, margin: int = 20) -> bytes:
        """Return a PNG of an element as far as the window shows it, and of its sides."""
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
        """What pages have logged since the last call, errors of the policy among it."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """What pages have got from files and networks since the last call.

        What their policy refused never left; the console tells of it.
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
    """Start a browser with a profile of its own."""
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

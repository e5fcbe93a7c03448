"""A running app and a page of a real browser; skipped where Chromium is not there."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asking import client_of

from heartlens.app.tabs import House

CHROMIUM = (
    os.environ.get("HEARTLENS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An app without recordings of its own."""
    own = House((), "ecg-sim-af", tmp_path_factory.mktemp("out"))
    yield own
    own.close()


@pytest.fixture(scope="module")
def client(house):
    """A client of that app."""
    with client_of(house) as client:
        yield client


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    if not CHROMIUM:
        pytest.skip("no Chromium is installed: `make chromium` installs Debian's; or name one with HEARTLENS_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The address of an app that runs on the embedded models alone."""
    command = [sys.executable, "-m", "heartlens", "app", "--model", "ecg-sim-af", "--offline", "--quiet"]
    folder = tmp_path_factory.mktemp("app")
    own = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HEARTLENS_CACHE": str(folder / "cache")}
    own["HEARTLENS_NO_LANDMARK_CACHE"] = ""  # every page opens the same example
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=own) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(60) == 0


class Page:
    """A page of the app: playwright's, with waiting that the page's policy allows, and an error for everything the console complains of."""

    def __init__(self, page):
        self.page, self.complaints = page, []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self.heard)

    def heard(self, message):
        """Keep what the console complains of; that an answer was a refusal (422) is none."""
        if message.type == "error" and "422" not in message.text:
            self.complaints.append(message.text)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def until(self, text, most_s=120):
        """Wait until an expression is true in the page."""
        end = time.monotonic() + most_s
        while not self.page.evaluate(f"Boolean({text})"):
            assert time.monotonic() < end, f"never: {text}; {self.complaints}"
            self.page.wait_for_timeout(30)

    def view(self, name, ready):
        """Open a view and wait for what it shows first."""
        self.page.click(f"#tab-{name}")
        self.until(f"heartlens.name === '{name}' && heartlens.view && ({ready})")


@pytest.fixture
def page_of(browser):
    """Makes pages of an own context each; at the end the console must not have complained."""
    made = []

    def page():
        context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        made.append(Page(context.new_page()))
        return made[-1]

    yield page
    for own in made:
        own.context.close()
        assert own.complaints == []


@pytest.fixture
def page(page_of, address):
    own = page_of()
    own.goto(address)
    own.until("window.heartlens?.state.window && heartlens.state.model && heartlens.view")
    return own

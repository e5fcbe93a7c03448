"""Makes the pictures of docs/app.md and docs/live.md anew, from the app as it is: `make pictures`. Look at each before it is kept."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import CHROMIUM, Page
from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[2] / "docs"
MAP = "heartlens.view.maps?.own && heartlens.view.lift && heartlens.view.split"
ANSWERED = "heartlens.view.result && heartlens.view.effects"


@contextmanager
def app(folder):
    """The address of a running app."""
    command = [sys.executable, "-m", "heartlens", "app", "--offline", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


def kept(page, name):
    """The page as a picture, with all its colours: fewer would make the small swatches of two waves one."""
    page.wait_for_timeout(400)
    page.screenshot(path=DOCS / name)
    Image.open(DOCS / name).convert("RGB").save(DOCS / name, optimize=True)


def pulled(page, wave, number, by):
    """Pull a wave by the handle on its top."""
    box = page.locator("#window").bounding_box()
    x, y = page.evaluate(
        "([wave, number]) => { const at = heartlens.paper.layers.handles.filter(each => each.wave === wave)[number];"
        " return [heartlens.paper.axes.x(at.token), heartlens.paper.axes.y(at.level)]; }",
        [wave, number],
    )
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x, box["y"] + y + by, steps=4)
    page.mouse.up()


def of_app(page):
    """What if, attention, beats."""
    page.view("arrhythmia", ANSWERED)
    page.evaluate("heartlens.view.set('P', 'P:0'); heartlens.view._controls()")
    pulled(page, "T", 2, 25)
    page.until("heartlens.view.shams?.stack.length === 2 && !heartlens.view.isAsking")
    page.mouse.move(640, 700)
    kept(page, "app_what_if.png")
    page.keyboard.press("z")
    page.keyboard.press("z")
    page.view("attention", "heartlens.view.maps?.own && heartlens.view.lift")
    page.evaluate("heartlens.view.choose(3, 4); heartlens.pick(470)")
    page.until(MAP)
    kept(page, "app_attention.png")
    page.select_option("#records", label="simulated pulse wave, atrial fibrillation")
    page.select_option("#models", "ppg-af")
    page.view("beats", "heartlens.view.detected && heartlens.view.stop.hidden")
    kept(page, "app_beats.png")


def of_live_page(page, folder):
    """The saved page, from disk."""
    path = folder / "page.html"
    command = [sys.executable, "-m", "heartlens", "live", "ecg-af", "--simulate", "sinus", "--out", str(path), "--quiet", "--offline"]
    subprocess.run(command, check=True, cwd=folder)
    page.goto(path.as_uri())
    page.locator("html[data-state=idle]").wait_for(state="attached", timeout=60_000)
    page.locator("#wave-P").fill("0")
    page.locator("#whose").select_option("2")
    page.locator("#wave-T").fill("-40")
    page.wait_for_timeout(3000)
    kept(page, "live_page.png")


def main():
    """All pictures."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright, app(folder) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = Page(browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light").new_page())
        page.goto(address)
        page.until("window.heartlens?.state.window && heartlens.state.model && heartlens.view")
        of_app(page)
        of_live_page(page, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()

"""The page in a real browser: every screen, a drag, saving, the keyboard, and how long a change takes (printed, not judged)."""

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest

from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.models.what_if import what_if
from heartlens.signals.files import Files
from heartlens.signals.simulate.recording import simulated_csv
from heartlens.signals.strip import strip_of

ANSWERED = "heartlens.view.result && heartlens.view.effects"
MAP = "heartlens.view.maps?.own && heartlens.view.lift"


@pytest.fixture(scope="module")
def strip(tmp_path_factory):
    """The recording that the page opens with."""
    path = tmp_path_factory.mktemp("example") / "simulated-ecg-sinus.csv"
    path.write_text(simulated_csv("ecg", "sinus"))
    files = Files((str(path),), kind="ecg")
    return strip_of(files.recording(files.names()[0]), "ecg")


def handle(page, kind, number):
    """Where a handle on the window is, in pixels of the page."""
    box = page.locator("#window").bounding_box()
    handles = page.evaluate(
        "kind => heartlens.paper.layers.handles.filter(each => (each.wave ?? each.kind) === kind)"
        ".map(each => [heartlens.paper.axes.x(each.token), heartlens.paper.axes.y(each.level)])",
        kind,
    )
    return box["x"] + handles[number][0], box["y"] + handles[number][1]


def drag(page, from_, by):
    page.mouse.move(*from_)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(from_[0] + by[0] * step / 8, from_[1] + by[1] * step / 8)
        page.wait_for_timeout(20)
    page.mouse.up()


def test_the_first_page_says_what_it_is(page):
    assert "This is not a medical device." in page.inner_text("footer")
    assert page.inner_text("#ribbon") == "simulated"
    assert "ecg-sim-af" in page.locator("#exact").get_attribute("title")
    assert "marked by" in page.inner_text("#legend")


def test_a_dragged_beat_and_a_sunken_p_wave_answer_as_the_package_does(page, strip):
    page.view("arrhythmia", ANSWERED)
    drag(page, handle(page, "beat", 1), (-30, 0))
    drag(page, handle(page, "P", 2), (0, 12))
    page.click("[data-part=L2H1]")
    page.until("heartlens.view.shams?.stack.length === 3 && !heartlens.view.isAsking")
    stack = page.evaluate("heartlens.view.stack")
    names = [text.split(":")[0] for text in stack]
    assert names == ["beat", "P", "ablate"]
    expected = what_if(subject_of(load("ecg-sim-af")), strip.window_at(0), stack)
    before, after, sham = page.evaluate("[heartlens.view.result.before, heartlens.view.result.after, heartlens.view.shams.sham]")
    assert [before, after, sham] == pytest.approx([expected.before, expected.after, expected.sham], abs=1e-4)
    page.keyboard.press("z")
    page.until("heartlens.view.stack.length === 2")
    times = page.evaluate("heartlens.timings.filter(([name]) => name === 'arrhythmia/answer').map(([, ms]) => ms)")
    print(f"\nedit to answer: median {statistics.median(times):.0f} ms of {len(times)}")


def test_what_is_saved_is_what_is_shown(page, strip):
    page.view("arrhythmia", ANSWERED)
    page.evaluate("heartlens.view.set('P', 'P:0')")
    page.until("heartlens.view.shams")
    with page.expect_download() as download:
        page.click("#saving button:has-text('data')")
    with open(download.value.path()) as file:
        rows = {row["edit"]: row for row in csv.DictReader(file)}
    assert float(rows["all"]["logit_alone"]) == pytest.approx(page.evaluate("heartlens.view.result.after"), abs=1e-6)
    with page.expect_download() as download:
        page.click("#saving button:has-text('SVG')")
    assert Path(download.value.path()).read_text().startswith("<?xml")
    assert download.value.suggested_filename == "what_if.svg"


def test_attention_is_the_packages_and_the_keyboard_moves_in_it(page, strip):
    from heartlens.tasks.attention import attention_of

    page.view("attention", MAP)
    page.evaluate("document.activeElement.blur()")
    for key in ("ArrowLeft", "ArrowUp", "3"):
        page.keyboard.press(key)
    page.until("heartlens.view.chosen.head === 2 && heartlens.view.split?.token === 498")
    assert page.evaluate("[heartlens.state.token, heartlens.view.chosen.layer]") == [498, 2]
    page.wait_for_timeout(200)
    shown = page.evaluate("[...heartlens.view.maps.own.row(498, true)]")
    expected = attention_of(subject_of(load("ecg-sim-af")), strip.window_at(0).tokens[0])[2, 2, 498]
    assert np.allclose(shown, expected, atol=1e-6)
    page.keyboard.press("Shift+ArrowLeft")
    position = page.evaluate("heartlens.state.window.position")
    assert position[498] - position[page.evaluate("heartlens.state.token")] == pytest.approx(1, abs=0.02)
    times = page.evaluate(
        """async () => {
            const times = [];
            for (let place = 0; place < 21; place += 1) {
                const began = performance.now();
                heartlens.pick(300 + 5 * place);
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                times.push(performance.now() - began);
            }
            return times;
        }"""
    )
    print(f"\ntoken to redraw: median {statistics.median(times):.0f} ms")


def test_bad_files_are_told_and_good_ones_opened(page):
    page.set_input_files("#file", [{"name": "noise.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"}])
    page.until("!document.getElementById('message').hidden")
    assert "noise.csv: no column is plainly a heart signal" in page.inner_text("#message")
    assert page.is_visible("#hints input[name=lead]")
    page.keyboard.press("Escape")
    text = simulated_csv("ppg", "sinus", duration_s=30).encode()
    page.set_input_files("#file", [{"name": "pulse.csv", "mimeType": "text/csv", "buffer": text}])
    page.until("document.getElementById('view').textContent.includes('reads ECG, and this recording is PPG')")
    page.view("arrhythmia", "heartlens.view.isEmpty")
    assert "reads ECG, and this recording is PPG" in page.inner_text("#view")
    page.click("#view button:has-text('Take ppg-af')")
    page.until("heartlens.state.model.kind === 'ppg' && heartlens.view.result", 200)


def test_help_lists_the_keys(page):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert "the asking token" in page.inner_text("#keys")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('keys').open")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("view", "ready"), [("attention", MAP), ("arrhythmia", ANSWERED)])
def test_axe_finds_nothing_serious(page, view, ready, theme):
    from axe_playwright_python.sync_playwright import Axe

    page.view(view, ready)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; heartlens.tell('theme'); }", theme)
    page.wait_for_timeout(300)
    violations = [each for each in Axe().run(page.page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []

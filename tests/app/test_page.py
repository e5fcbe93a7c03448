"""The page in a real browser: what it says, files good and bad, the form that says how to read, help, and accessibility."""

import numpy as np
import pytest
from asking import ANSWERED, MAP, long_csv

from heartlens.signals.simulate.recording import simulated_csv


def test_the_first_page_says_what_it_is(page):
    assert "This is not a medical device." in page.inner_text("footer")
    assert page.inner_text("#ribbon") == "simulated"
    assert "ecg-sim-af" in page.locator("#exact").get_attribute("title")
    assert "marked by" in page.inner_text("#legend")


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


def test_a_file_that_tells_too_little_is_read_with_what_the_form_says(page):
    _, *rows = simulated_csv("ppg", "sinus", duration_s=30).splitlines()
    text = "\n".join(row.split(",")[1] for row in rows).encode()  # no name of a channel, no rate
    page.set_input_files("#file", [{"name": "bare.csv", "mimeType": "text/csv", "buffer": text}])
    page.until("!document.getElementById('message').hidden && !document.getElementById('hints').hidden")
    assert "Of bare.csv:" in page.inner_text("#hints")
    page.select_option("#hints [name=kind]", "ppg")
    page.click("#hints button")  # the rate is still not told
    page.until("heartlens.opening.said.kind === 'ppg' && document.querySelector('#hints [name=kind]').value === 'ppg'")
    page.fill("#hints [name=rate_hz]", "50")
    page.click("#hints button")
    page.until("heartlens.state.recording.kind === 'ppg' && document.getElementById('hints').hidden")
    assert page.is_hidden("#message")
    assert page.evaluate("document.getElementById('records').selectedOptions[0].textContent") == "bare.csv"


def test_what_the_reader_decided_is_shown_and_can_be_changed(page):
    page.set_input_files("#file", [{"name": "mine.csv", "mimeType": "text/csv", "buffer": simulated_csv("ecg", duration_s=20).encode()}])
    page.until("heartlens.state.recording.name === 'mine' && !heartlens.opening.isOpening")
    tokens = page.evaluate("heartlens.state.window.tokens")
    assert page.inner_text("#facts") == "mine · lead ecg_mV in mV · 100 Hz · 20.0 s · person not known"
    page.click("#reread")
    fields = {name: page.get_attribute(f"#hints [name={name}]", "placeholder") for name in ("lead", "rate_hz", "unit", "person")}
    assert fields == {"lead": "ecg_mV", "rate_hz": "100", "unit": "mV", "person": "not known"}
    page.fill("#hints [name=person]", "12")
    page.fill("#hints [name=unit]", "uV")
    page.select_option("#hints [name=polarity]", "invert")
    page.click("#hints button")
    page.until("heartlens.state.recording.person === '12' && !heartlens.opening.isOpening")
    assert page.inner_text("#facts") == "mine · lead ecg_mV in uV · 100 Hz · 20.0 s · turned upside down · person 12"
    assert np.allclose(page.evaluate("heartlens.state.window.tokens"), 100 - np.array(tokens), atol=1)
    assert page.input_value("#hints [name=person]") == "12"


def test_a_refusal_of_what_has_left_the_screen_is_not_shown(page):
    refused = """async isOpening => {
      heartlens.opening.nOpening = Number(isOpening);
      try { await heartlens.ask('similarity', 'cosines', { model: 'ppg-sim' }); } catch (error) { return error.name; }
      finally { heartlens.opening.nOpening = 0; }
    }"""
    assert [page.evaluate(refused, isOpening) for isOpening in (True, False)] == ["AbortError", "Error"]


def test_a_long_reading_shows_how_long_and_is_cancelled(page, tmp_path):
    before = page.evaluate("[heartlens.state.recording.name, heartlens.state.window.tokens]")
    path = tmp_path / "long.csv"
    path.write_text(long_csv(3))
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#cancel", timeout=60_000)
    page.until("/long.csv/.test(document.getElementById('facts').textContent)")
    page.until("/Reading long.csv… [1-9]/.test(document.getElementById('facts').textContent)")
    page.click("#cancel")
    page.until("document.getElementById('busy').hidden")
    assert "cancelled" in page.inner_text("#message")
    assert before[0] in page.inner_text("#facts")
    assert page.evaluate("[heartlens.state.recording.name, heartlens.state.window.tokens]") == before
    assert page.is_visible("#message")
    page.select_option("#records", label="simulated ECG, premature beats")
    page.until("heartlens.state.recording.name === 'simulated ECG, premature beats'")
    assert page.locator("#records option", has_text="long.csv").count() == 0
    page.until("document.getElementById('message').hidden")  # it was about another recording


def test_at_125_percent_all_is_as_wide_as_the_screen(page):
    page.set_viewport_size({"width": 1024, "height": 576})
    page.view("arrhythmia", ANSWERED)
    page.evaluate("heartlens.view.set('P@2', 'P@2:0')")
    page.until("heartlens.view.shams")
    assert page.locator("header").bounding_box()["height"] < 50  # in one line
    rights = page.evaluate("[...document.querySelectorAll('body *')].map(each => [each.getBoundingClientRect().right, each.outerHTML])")
    beyond = [html for right, html in rights if right > 1025]
    assert beyond == []


def test_help_lists_the_keys(page):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert "the asking token" in page.inner_text("#keys")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('keys').open")


@pytest.mark.parametrize(
    ("view", "ready"),
    [
        ("attention", MAP),
        ("arrhythmia", ANSWERED),
        ("similarity", "heartlens.view.answer"),
        ("generate", "true"),
        ("beats", "/reads pulse waves/.test(document.getElementById('view').textContent)"),
        ("results", "/No results are stored/.test(document.getElementById('view').textContent)"),
    ],
)
def test_axe_finds_nothing_serious(page, view, ready):
    page.view(view, ready)
    if view == "arrhythmia":
        page.evaluate("heartlens.view.set('P@2', 'P@2:0')")
        page.until("heartlens.view.shams")
    assert_accessible(page)


def test_axe_finds_nothing_serious_in_what_opens(page):
    """A refusal, the form that says how to read, what a model cannot be asked, and the list of keys."""
    page.set_input_files("#file", [{"name": "noise.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"}])
    page.until("!document.getElementById('message').hidden && !document.getElementById('hints').hidden")
    assert_accessible(page)
    page.select_option("#models", "ppg-sim")
    page.until("heartlens.view.isEmpty")
    assert_accessible(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert_accessible(page)


def assert_accessible(page):
    """That axe finds nothing serious in the page as it is, in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; heartlens.tell('theme'); }", theme)
        page.wait_for_timeout(200)
        violations = [each for each in Axe().run(page.page).response["violations"] if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []


@pytest.mark.parametrize(
    ("view", "late"),
    [("arrhythmia", "beats"), ("arrhythmia", "answer"), ("attention", "map"), ("attention", "heads"), ("similarity", "plane")],
)
def test_answers_that_come_after_a_model_of_another_kind_was_chosen_are_forgotten(page, view, late):
    """A question that follows from one of before would be asked of the new model, which refuses it."""
    held = []
    page.route(f"**/api/{view}/{late}", lambda route: held.append(route))
    page.click("#tab-results")
    page.click(f"#tab-{view}")
    page.until("heartlens.view")
    while not held:
        page.wait_for_timeout(30)
    page.select_option("#models", "ppg-sim")
    page.until("heartlens.view.isEmpty")
    for each in held:
        each.continue_()
    page.wait_for_timeout(700)
    assert "ppg-sim reads PPG, and this recording is ECG" in page.inner_text("#view")
    assert page.is_hidden("#message")
    assert page.evaluate("heartlens.paper.layers.shade ?? heartlens.paper.layers.handles ?? null") is None


@pytest.mark.parametrize("view", ["attention", "similarity", "arrhythmia", "generate"])
def test_a_model_of_another_kind_is_told_in_every_view(page, view):
    page.click(f"#tab-{view}")
    page.until(f"heartlens.name === '{view}' && heartlens.view")
    page.select_option("#models", "ppg-sim")
    page.until("heartlens.view.isEmpty")
    assert "ppg-sim reads PPG, and this recording is ECG" in page.inner_text("#view")
    assert page.is_hidden("#message")
    page.select_option("#models", "ecg-sim-af")
    page.until("heartlens.view && !heartlens.view.isEmpty")
    assert "reads PPG" not in page.inner_text("#view")

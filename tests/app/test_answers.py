"""What the page answers in a real browser is what the package answers: edits, attention, what is saved. Times are printed, not judged."""

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest
from asking import ANSWERED, MAP

from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.models.what_if import what_if
from heartlens.signals.files import Files
from heartlens.signals.simulate.recording import simulated_csv
from heartlens.signals.strip import strip_of


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


def shows(row, expected, within):
    """Whether numbers in the page are those expected, as an expression to wait for: what was asked for comes when the machine has time."""
    numbers = np.asarray(expected, float).tolist()
    return f"((row, own) => row.length === own.length && own.every((x, at) => Math.abs(x - row[at]) <= {within}))([...{row}], {numbers})"


def test_a_dragged_beat_and_a_sunken_p_wave_answer_as_the_package_does(page, strip):
    page.view("arrhythmia", ANSWERED)
    drag(page, handle(page, "beat", 1), (-30, 0))
    drag(page, handle(page, "P", 2), (0, 12))
    page.click("[data-part=L2H1]")
    page.until("heartlens.view.shams?.stack.length === 3 && !heartlens.view.isAsking")
    stack = page.evaluate("heartlens.view.stack")
    names = [text.split(":")[0] for text in stack]
    assert names[0] == "beat"
    assert names[1].startswith("P@")  # of the beat whose wave was dragged, and of no other
    assert names[2] == "ablate"
    expected = what_if(subject_of(load("ecg-sim-af")), strip.window_at(0), stack)
    before, after, sham = page.evaluate("[heartlens.view.result.before, heartlens.view.result.after, heartlens.view.shams.sham]")
    assert [before, after, sham] == pytest.approx([expected.before, expected.after, expected.sham], abs=1e-4)
    page.keyboard.press("z")
    page.until("heartlens.view.stack.length === 2")
    times = page.evaluate("heartlens.timings.filter(([name]) => name === 'arrhythmia/answer').map(([, ms]) => ms)")
    print(f"\nedit to answer: median {statistics.median(times):.0f} ms of {len(times)}")


def test_a_wave_is_changed_in_one_beat_or_in_all(page, strip):
    page.view("arrhythmia", ANSWERED)
    drag(page, handle(page, "P", 1), (0, 40))
    page.until("heartlens.view.stack.length === 1 && heartlens.view.shams")
    (alone,) = page.evaluate("heartlens.view.stack")
    beat = alone.split(":")[0].removeprefix("P@")
    assert page.input_value("#view select[aria-label='whose waves']") == beat
    page.locator("#view input[aria-label='P waves']").evaluate("input => { input.value = 0; input.dispatchEvent(new Event('change')); }")
    page.until(f"heartlens.view.stack[0] === 'P@{beat}:0' && heartlens.view.shams?.stack[0] === 'P@{beat}:0'")
    expected = what_if(subject_of(load("ecg-sim-af")), strip.window_at(0), [f"P@{beat}:0"])
    shown = page.evaluate("[heartlens.view.result.after, heartlens.view.shams.sham, heartlens.state.window.tokens]")
    assert shown[:2] == pytest.approx([expected.after, expected.sham], abs=1e-4)
    assert shown[2] == expected.windows.tokens[0].tolist()
    assert f"no P wave of beat {int(beat) + 1}" in page.inner_text(".stack")
    page.keyboard.down("Shift")
    drag(page, handle(page, "T", 1), (0, 20))
    page.keyboard.up("Shift")
    page.until("heartlens.view.stack.length === 2")
    assert page.evaluate("heartlens.view.stack")[1].startswith("T:")  # with Shift, of all beats


def slide(page, label, values):
    """Drag a slider of the what-if over some values."""
    page.locator(f"#view input[aria-label='{label}']").evaluate(
        """(input, values) => {
          for (const value of values) { input.value = value; input.dispatchEvent(new Event('input')); }
          input.dispatchEvent(new Event('change'));
        }""",
        values,
    )


def test_the_slider_of_one_beat_shows_what_the_edit_of_all_beats_left(page):
    page.view("arrhythmia", ANSWERED)
    wave = page.locator("#view input[aria-label='P waves']")
    slide(page, "P waves", [0])
    page.until("heartlens.view.stack.join() === 'P:0' && !heartlens.view.isAsking")
    page.select_option("#view select[aria-label='whose waves']", "1")
    assert [wave.input_value(), wave.is_disabled()] == ["0", True]
    assert "nothing of it is left in beat 2" in wave.get_attribute("title")
    page.locator(".stack input[type=checkbox]").uncheck()
    assert [wave.input_value(), wave.is_disabled()] == ["1", False]
    page.select_option("#view select[aria-label='whose waves']", "")
    slide(page, "P waves", [0.5])
    page.until("heartlens.view.stack.join() === 'P:0.5' && !heartlens.view.isAsking")
    page.select_option("#view select[aria-label='whose waves']", "1")
    assert "as the edit of all beats leaves it (50 %)" in wave.get_attribute("title")


def test_f_waves_are_put_in_or_taken_out_with_one_slider_and_p_waves_put_in(page, tmp_path):
    path = tmp_path / "af.csv"
    path.write_text(simulated_csv("ecg", "af"))
    files = Files((str(path),), kind="ecg")
    window = strip_of(files.recording(files.names()[0]), "ecg").window_at(0)
    subject = subject_of(load("ecg-sim-af"))

    def assert_answer(*edits):
        page.until(f"heartlens.view.stack.join() === '{','.join(edits)}' && !heartlens.view.isAsking")
        assert page.evaluate("heartlens.view.result.after") == pytest.approx(what_if(subject, window, edits, shams=False).after, abs=1e-4)

    page.view("arrhythmia", ANSWERED)
    assert page.locator("#view input[aria-label='P waves put in']").count() == 0  # every beat of sinus rhythm has one
    page.select_option("#records", label="simulated ECG, atrial fibrillation")
    page.until(f"heartlens.state.recording.name.endsWith('fibrillation') && {ANSWERED}")
    slide(page, "f waves", [-1, -2.5])
    assert_answer("no_f_waves:0.5")
    assert "f waves × 0.5" in page.inner_text(".stack")
    slide(page, "f waves", [-1, 0, 1, 2])
    assert_answer("f_waves:2")
    page.click("#view button[aria-label='undo the last edit']")  # all of a drag is one step, over zero too
    assert_answer("no_f_waves:0.5")
    assert page.input_value("#view input[aria-label='f waves']") == "-2.5"
    slide(page, "f waves", [0])
    slide(page, "P waves put in", [0.5, 1.2])
    assert_answer("add_P:1.2")
    assert "P waves put in × 1.2" in page.inner_text(".stack")
    handles = page.evaluate("heartlens.paper.layers.handles.map(each => each.wave)")
    assert "T" in handles
    assert "P" not in handles  # what was put in has the slider; a drag changes what the recording has


def test_edits_are_there_again_after_another_view(page):
    page.view("arrhythmia", ANSWERED)
    recorded = page.evaluate("heartlens.state.window.tokens")
    page.evaluate("heartlens.view.set('P', 'P:0')")
    page.click("[data-part=L2H1]")
    page.until("heartlens.view.shams?.stack.length === 2 && !heartlens.view.isAsking")
    after = page.evaluate("heartlens.view.result.after")
    page.view("similarity", "document.querySelector('#view td.number')")
    assert page.evaluate("heartlens.state.window.tokens") == recorded
    page.view("attention", MAP)
    page.view("arrhythmia", ANSWERED)
    assert page.evaluate("heartlens.view.stack") == ["P:0", "ablate:L2H1"]
    assert page.evaluate("heartlens.view.result.after") == pytest.approx(after, abs=1e-6)
    assert page.get_attribute("[data-part=L2H1]", "aria-pressed") == "true"
    assert page.input_value("#view input[aria-label='P waves']") == "0"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("z")
    page.keyboard.press("z")
    page.until("heartlens.view.stack.length === 0 && !heartlens.view.isAsking")
    assert page.evaluate("heartlens.state.window.tokens") == recorded
    page.evaluate("heartlens.view.set('P', 'P:0')")
    page.evaluate("heartlens.slide(3)")
    page.until("heartlens.state.start_s > 2.9 && heartlens.view.result && !heartlens.view.isAsking")
    assert page.evaluate("heartlens.view.stack") == []  # they were edits of another window


def test_the_map_of_heads_comes_where_the_view_was_opened_twice(page):
    """The first view's answer is late: the map that it would ask for must not take the place of the second's, which is still under way."""
    page.view("attention", "heartlens.view.maps?.own")
    page.evaluate(
        """() => {
          const { ask } = heartlens, own = window.fetch;
          let n = 0;
          heartlens.ask = async function (view, answer, ...rest) {
            if (answer === 'answer' && n++ === 0) await new Promise(done => setTimeout(done, 1000));
            return ask.call(this, view, answer, ...rest);
          };
          window.fetch = async (url, options) => {
            if (url.endsWith('/ablations')) await new Promise((done, fail) => {
              setTimeout(done, 3000);
              options.signal.addEventListener('abort', () => fail(options.signal.reason));
            });
            return own(url, options);
          };
        }"""
    )
    page.click("#tab-arrhythmia")
    page.click("#tab-arrhythmia")
    page.until("heartlens.name === 'arrhythmia' && heartlens.view && heartlens.view.effects", most_s=30)


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
    expected = attention_of(subject_of(load("ecg-sim-af")), strip.window_at(0).tokens[0])[2, 2, 498]
    page.until(shows("heartlens.view.maps.own.row(498, true)", expected, 1e-6))
    assert page.evaluate("heartlens.view.key_") == 1 + int(np.argmax(expected[1:499]))  # why it looks where it looks most
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


def test_attention_of_the_edited_window_is_shown_and_said(page, strip):
    from heartlens.models.load import load_subject
    from heartlens.parts import parts_in
    from heartlens.tasks.attention import attention_of

    page.view("arrhythmia", ANSWERED)
    page.evaluate("heartlens.view.set('P@2', 'P@2:0')")
    page.evaluate("heartlens.view.set('beat:3', 'beat:3:-0.1')")
    page.click("[data-part=L2H1]")
    page.until("heartlens.view.result && heartlens.view.stack.length === 3 && !heartlens.view.isAsking")
    page.view("attention", MAP)
    assert "edited window" in page.inner_text("#view")
    assert "no P wave of beat 3, beat 4 0.10 s earlier, without L2H1" in page.inner_text("#view")
    recorded, edited = strip.window_at(0), what_if(subject_of(load("ecg-sim-af")), strip.window_at(0), ["P@2:0", "beat:3:-0.1"]).windows
    assert page.evaluate("heartlens.state.window.tokens") == edited.tokens[0].tolist()
    shown = "[...heartlens.view.maps.own.row(499, true)]"
    ablated = load_subject("ecg-sim-af", ablate=parts_in("L2H1"))
    assert np.allclose(page.evaluate(shown), attention_of(ablated, edited.tokens[0])[3].sum(axis=0)[499], atol=1e-5)
    page.click("#view button:has-text('Show it as recorded')")
    page.until(f"heartlens.state.window.tokens.join() === '{','.join(map(str, recorded.tokens[0]))}'")
    expected = attention_of(subject_of(load("ecg-sim-af")), recorded.tokens[0])[3].sum(axis=0)[499]
    page.until(shows("heartlens.view.maps.own.row(499, true)", expected, 1e-5))
    assert "3 edits of the what-if not shown" in page.inner_text("#view")
    assert page.evaluate("heartlens.state.stack.texts.length") == 3

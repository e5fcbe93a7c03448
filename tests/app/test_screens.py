"""The views similarity, generate, beats and results: their numbers are the package's, and each is used once in a browser."""

import csv
import io
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from asking import Asker

from heartlens.app.tabs import House
from heartlens.cli import run_command as run_analysis
from heartlens.signals.simulate.recording import simulated_csv

PICTURES = os.environ.get("HEARTLENS_PICTURES", "")  # a folder that keeps what the browser showed


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two stored results of one analysis."""
    folder = tmp_path_factory.mktemp("out")
    for name, checkpoint in (("base", "ecg-sim"), ("af", "ecg-sim-af")):
        arguments = [checkpoint, "--simulate", "sinus", "--n-twins", "0", "--n-permutations", "99", "--quiet", "--format", "svg"]
        assert run_analysis("heartlens.analyses.head_scan", [*arguments, "--out", str(folder / "scans" / name)]) == 0
    return folder


@pytest.fixture(scope="module")
def house(out):
    own = House((), "ecg-sim", out)
    yield own
    own.close()


def rows_of(response):
    return list(csv.reader(io.StringIO(response.text)))


def test_similarity_is_the_published_screen(client, shared):
    """Read off the original's screenshot, +-0.02 (FACTS.md): reference 485, others 460 and 71."""
    tab = Asker(client, "ppgpt-500k")
    tab.open("ppg.csv", (shared / "heartgpt" / "Example_inputs" / "example_context_PPG.csv").read_bytes(), kind="ppg", rate_hz=50)
    answer = tab.ask("similarity", "cosines", reference=485, others=[460, 71])
    cosine = np.array(answer["cosine"])
    assert cosine[:, 459] == pytest.approx([0.84, 0.73, 0.59, 0.55, 0.52, 0.49, 0.43, 0.43, 0.38], abs=0.02)
    assert cosine[:, 70] == pytest.approx([0.29, 0.34, 0.41, 0.44, 0.45, 0.48, 0.49, 0.50, 0.80], abs=0.02)
    table = rows_of(tab.post("similarity", "data", reference=485, others=[460, 71]))
    assert [float(value) for value in table[460][3:]] == pytest.approx(cosine[:, 459].tolist(), abs=1e-5)
    centred = np.array(tab.ask("similarity", "cosines", reference=485, others=[460], centred=True)["cosine"])
    assert not np.allclose(centred, cosine)
    code = tab.ask("similarity", "code", reference=485, others=[460, 71], centred=True)
    assert "--centred" in code["command"]
    plane = tab.ask("similarity", "plane")
    assert np.shape(plane["place"]) == (9, 500, 2)
    assert tab.post("similarity", "figure", format="svg").text.lstrip().startswith("<?xml")
    assert "legal: 1 to 500" in tab.refusal("similarity", "cosines", reference=501)
    for n_others in (0, 24):
        assert tab.post("similarity", "figure", format="svg", others=list(range(1, 1 + n_others))).status_code == 200
    assert "at most 24 tokens" in tab.refusal("similarity", "cosines", others=list(range(1, 26)))


def test_beats_are_the_golden_output(client, shared):
    golden = np.load(shared / "heartgpt" / "golden" / "beat_pipeline.npz")
    tab = Asker(client, "ppgpt-beat-5k")
    name = "example_context_PPG_beat_detect_long_input.csv"
    tab.open(name, (shared / "heartgpt" / "Example_inputs" / name).read_bytes(), kind="ppg", rate_hz=50)
    found = tab.finished("beats", tab.ask("beats", "begin")["job"])
    np.testing.assert_array_equal(np.round(np.array(found["time_s"]) * 50), golden["peaks"])
    np.testing.assert_allclose(found["confidence"], golden["heights"], atol=1e-4)
    job = tab.ask("beats", "begin")["job"]
    table = rows_of(tab.post("beats", "data", job=job))
    assert len(table) == 1 + len(golden["peaks"])
    assert tab.post("beats", "mat", job=job).content[:6] == b"MATLAB"
    assert len(tab.post("beats", "annotations", job=job).content) > 2 * len(golden["peaks"])
    assert tab.post("beats", "figure", job=job, format="png").content[:4] == b"\x89PNG"


def test_an_ecg_has_no_pulse_to_look_for(client):
    tab = Asker(client, "ecg-sim")
    tab.open("mine.csv", simulated_csv("ecg", duration_s=10).encode())
    assert "PPG" in tab.refusal("beats", "begin")


@pytest.mark.parametrize("ablate", ["", "L1H1,MLP2"])
def test_what_is_generated_is_the_tasks(client, ablate):
    from heartlens.models.load import load_subject
    from heartlens.parts import parts_in
    from heartlens.tasks.generate import continued

    tab = Asker(client, "ecg-sim")
    tab.open("mine.csv", simulated_csv("ecg", duration_s=10).encode())
    settings = {"n": 12, "samples": 2, "seed": 3, "temperature": 0.9, "context": 100, "ablate": ablate}
    job = tab.ask("generate", "begin", **settings)["job"]
    tab.finished("generate", job)
    tokens = tab.ask("generate", "look", job=job)["tokens"]
    context = np.array(tab.ask("signal", "window", start_s=tab.start_s)["tokens"], np.uint8)[-100:]
    given = Namespace(n=12, samples=2, seed=3, temperature=0.9, top_k=None)
    np.testing.assert_array_equal(tokens, continued(load_subject("ecg-sim", ablate=parts_in(ablate)), context, given))
    table = rows_of(tab.post("generate", "data", job=job, **settings))
    assert [int(row[2]) for row in table[1:]] == np.array(tokens).ravel().tolist()
    assert tab.post("generate", "figure", job=job, format="svg", **settings).status_code == 200
    assert "--context 100" in tab.ask("generate", "code", **settings)["command"]


def test_generation_refuses_in_one_line(client):
    tab = Asker(client, "ecg-sim")
    tab.open("mine.csv", simulated_csv("ecg", duration_s=10).encode())
    assert "has layers 1 to" in tab.refusal("generate", "begin", ablate="L99H1")
    assert "legal" in tab.refusal("generate", "begin", temperature=-1)
    assert "legal: 1 to" in tab.refusal("generate", "begin", samples=0)
    assert "not there any more" in tab.refusal("generate", "look", job="guessed")


def test_results_are_told_and_compared_as_stored(client, out):
    from heartlens.results import opened

    tab = Asker(client, "ecg-sim")
    assert tab.ask("results", "listed")["names"] == ["scans/af", "scans/base"]
    shown = tab.ask("results", "result", name="scans/base")
    result = opened(out / "scans" / "base")
    findings = result.drawer.findings(result.summary)
    assert shown["verdict"] == list(findings.verdict)
    assert shown["rows"] == [list(row) for row in findings.rows]
    assert shown["command"] == result.command()
    compared = tab.ask("results", "compared", a="scans/base", b="scans/af")
    assert compared["columns"][0] == "effect"
    assert len(compared["rows"]) > 60
    assert "unknown result" in tab.refusal("results", "result", name="../elsewhere")


def test_a_live_page_is_saved_from_the_app(client):
    tab = Asker(client, "ecg-sim-af")
    tab.ask("signal", "open", example="simulated ECG, atrial fibrillation")
    tab.chosen["start_s"] = 12.0
    response = tab.post("results", "live")
    assert response.headers["content-disposition"].endswith('-live.html"')
    assert "simulated signal" in response.text
    assert '"startS":12.0' in response.text
    tab.chosen["model"] = "ecg-sim"
    assert "no task head that gives one answer" in tab.refusal("results", "live")


@pytest.fixture(scope="module")
def address(out, tmp_path_factory):
    """The address of an app of its own process, with a simulated pulse wave of an hour beside the examples."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "hour.csv").write_text(simulated_csv("ppg", duration_s=3600))
    command = [sys.executable, "-m", "heartlens.app", str(folder), "--model", "ppg-sim", "--out", str(out), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def page(browser, address):
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(address)
    page.locator("#tabs [role=tab]").first.wait_for()
    yield page
    page.context.close()


def pictured(page, name):
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def opened_example(page, example, model, view):
    page.locator("#facts:not(.loading)").wait_for(timeout=120_000)
    page.locator("#records").select_option(label=example)
    page.locator("#facts:not(.loading)", has_text=example).wait_for(timeout=120_000)
    page.locator("#models").select_option(model)
    page.locator("#exact:not(:text-is('loading…'))").wait_for(timeout=120_000)
    page.locator(f"#tab-{view}").click()


def assert_accessible(page):
    """That axe finds nothing serious, in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    for theme in ("dark", "light"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; heartlens.tell('theme'); }", theme)
        page.wait_for_timeout(300)
        violations = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:160]) for each in violations if each["impact"] in ("serious", "critical")] == []


def test_similarity_in_a_browser(page):
    opened_example(page, "simulated ECG, sinus rhythm", "ecg-sim", "similarity")
    page.locator(".sim-plane").wait_for()
    page.locator("#view td.number").first.wait_for(timeout=60_000)
    before = page.locator("#view table").inner_text()
    page.locator("#window").click(position={"x": 400, "y": 90})
    page.keyboard.press("Enter")
    page.locator("#view table tr").nth(4).wait_for()
    assert page.locator("#view table tr").count() == 5
    assert page.locator("#view table").inner_text() != before
    for _ in range(4, 25):
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
    page.locator("#view table tr").nth(25).wait_for()  # above and below 24 tokens: the reference, and the mean of all
    pictured(page, "similarity-24")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert "24 tokens are compared" in page.locator("#message").inner_text()
    assert page.evaluate("heartlens.view.others.length") == 24
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.locator("#view th", has_text=re.compile("to token (?!485)")).wait_for()
    page.keyboard.press("ArrowUp")
    pictured(page, "similarity")
    assert_accessible(page)


def test_generation_in_a_browser(page):
    opened_example(page, "simulated ECG, sinus rhythm", "ecg-sim", "generate")
    page.get_by_label("context").fill("200")
    page.get_by_label("tokens", exact=True).fill("120")
    page.get_by_role("button", name="Go on").click()
    page.locator("#view [data-grown='120']").wait_for(timeout=120_000)
    pictured(page, "generate")
    assert_accessible(page)


def test_an_hour_of_pulse_in_a_browser(page):
    page.locator("#facts:not(.loading)", has_text="1:00:00").wait_for(timeout=120_000)
    page.locator("#tab-beats").click()
    page.locator(".beat-chart").wait_for()
    page.get_by_role("button", name="all", exact=True).click()
    page.wait_for_timeout(800)
    pictured(page, "beats-hour")
    drawing = page.evaluate(
        """async () => {
          const chart = document.querySelector('.beat-chart'), times = [];
          for (let turn = 0; turn < 30; turn += 1) {
            const begin = performance.now();
            const turned = { deltaY: turn % 3 ? -100 : 100, shiftKey: turn % 2 === 0, cancelable: true };
            chart.dispatchEvent(new WheelEvent('wheel', turned));
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - begin);
          }
          return times.sort((a, b) => a - b)[15];
        }"""
    )
    print(f"a turn of the wheel is drawn within {drawing:.0f} ms at the median")
    page.get_by_role("button", name="Cancel").click()


def test_beats_in_a_browser(page):
    opened_example(page, "simulated pulse wave, sinus rhythm", "ppg-sim", "beats")
    page.locator("#view [data-beats]:not([data-beats=''])").wait_for(timeout=120_000)
    assert page.locator("#view", has_text="overall quality").count() == 1
    of_window = """() => {
      const { time_s, band } = heartlens.view.detected, { start_s, rate_hz } = heartlens.state.window;
      const beats = time_s.map((time, place) => [(time - start_s) * rate_hz, band[place]]);
      return beats.filter(([token]) => token >= 0 && token < 500);
    }"""
    for start_s in (0, 21):
        page.evaluate("start_s => heartlens.slide(start_s)", start_s)
        shown = page.evaluate("heartlens.paper.layers.beats.map(({ token, band }) => [token, band])")
        assert shown == page.evaluate(of_window)
        assert len(shown) > 5
    page.locator(".beat-chart").focus()
    page.keyboard.press("+")
    page.wait_for_timeout(300)
    pictured(page, "beats")
    with page.expect_download() as download:
        page.get_by_role("button", name=".mat").click()
    assert download.value.suggested_filename.endswith(".mat")
    assert_accessible(page)
    page.locator("#tab-results").click()
    page.locator("#view [data-shown]").wait_for(timeout=60_000)
    assert page.evaluate("heartlens.paper.layers.beats") is None


def test_no_peak_of_the_chart_of_beats_is_lost(page):
    opened_example(page, "simulated pulse wave, sinus rhythm", "ppg-sim", "beats")
    page.locator("#view [data-beats]:not([data-beats=''])").wait_for(timeout=120_000)
    missed = page.evaluate(
        """async () => {
          const { scale } = await import('/static/draw.js'), { view } = heartlens, { chart } = view;
          view.detected = null;
          const lost = [];
          for (const factor of [1, 0.99, 0.6, 0.03]) {  // several columns for a pixel, and several pixels for a column
            view.zoom(factor);
            await view.fetch();
            const isFine = ({ columns: { from_s, until_s }, shown: [from, until] }) => until_s - from_s < 3.01 * (until - from);
            while (!isFine(view)) await new Promise(requestAnimationFrame);
            const { columns: { least, largest, from_s, until_s }, shown } = view, step = (until_s - from_s) / least.length;
            largest[least.length >> 1] += 40;  // a peak that is one column wide
            view.draw();
            const right = chart.clientWidth - 10, x = scale(...shown, 46, right), middle = column => x(from_s + (column + 0.5) * step);
            const columns = least.map((_, column) => column).filter(column => middle(column) > 47 && middle(column) < right - 1);
            const low = Math.min(...columns.map(column => least[column])), high = Math.max(...columns.map(column => largest[column]));
            const y = scale(low, high, chart.clientHeight * 0.52, 22), context = chart.getContext('2d');
            const red = (column, value) => context.getImageData(Math.floor(middle(column)), Math.floor(y(value)), 1, 1).data[0];
            const isDrawn = (column, value) => red(column, value) < 225;  // neither ground nor grid
            lost.push(columns.filter(column => !isDrawn(column, least[column]) || !isDrawn(column, largest[column])).length);
          }
          return lost;
        }"""
    )
    assert missed == [0, 0, 0, 0]


def test_results_in_a_browser(page):
    page.locator("#facts:not(.loading)").wait_for(timeout=120_000)
    page.locator("#tab-results").wait_for()
    page.locator("#tab-results").click()
    page.locator("#view [data-shown]").wait_for(timeout=60_000)
    assert "heartlens head_scan" in page.locator(".command").inner_text()
    assert page.evaluate("document.querySelector('.result-figure').naturalWidth") > 100
    pictured(page, "results")
    page.locator("#result-other").select_option("scans/base")
    page.locator("#view [data-shown='scans/af scans/base']").wait_for(timeout=60_000)
    pictured(page, "results-compared")
    assert_accessible(page)

"""How long the page takes, in a browser, with the published models where they are, else the embedded ones: printed, not judged.

`make timings`, on a machine that does nothing else. What is asked for is said for two cores.
"""

import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from heartlens.signals.simulate.recording import simulated_csv

pytestmark = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="times are taken while nothing else runs: make timings")

EDITED = "heartlens.view.result && heartlens.view.effects && !heartlens.view.isAsking"
MAP = "heartlens.view.maps?.own && heartlens.view.lift"
READ = "document.getElementById('facts').className === ''"
MAPPED = "heartlens.timings.filter(([name]) => name === 'arrhythmia/ablations').map(([, ms]) => ms)"
FRAMES = """async act => {
  const times = [];
  for (let turn = 0; turn < 40; turn += 1) {
    const began = performance.now();
    act(turn);
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));  // the work of this frame is done
    times.push(performance.now() - began);
  }
  return times;
}"""


def told(what, times, asked):
    """Print a time, or the median of several."""
    several = f", the median of {len(times)}, {max(times):.0f} at most" if len(times) > 1 else ""
    print(f"\n{what}: {statistics.median(times):.0f} ms{several} (asked for: {asked} ms)")


@pytest.fixture
def started(tmp_path, page_of, monkeypatch):
    """Starts the app: a page of it, and how long the recording and the first view took, in milliseconds.

    At the first start no landmarks are in the cache, as on a new machine; from the second on those of the example are.
    """
    monkeypatch.delenv("HEARTLENS_NO_LANDMARK_CACHE")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    models = Path(os.environ.get("HEARTLENS_SHARED") or Path(__file__).parents[3] / "shared") / "heartgpt" / "Model_files"
    own = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | ({"HEARTLENS_CHECKPOINTS": str(models)} if models.is_dir() else {})
    command = [sys.executable, "-m", "heartlens", "app", "--offline", "--quiet"]

    @contextmanager
    def start():
        page = page_of()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=own) as process:
            address = process.stdout.readline().strip()
            began = time.monotonic()
            page.goto(address)
            page.until("window.heartlens?.state.window")
            times = [1000 * (time.monotonic() - began)]
            page.until("heartlens.state.model && heartlens.view")
            yield page, [*times, 1000 * (time.monotonic() - began)]
            page.goto("about:blank")  # asks nothing of an app that ends
            process.terminate()

    return start


def frames(page, act):
    """How long each of many small changes takes to be drawn, in milliseconds."""
    return page.evaluate(f"({FRAMES})({act})")


def test_the_first_page(started):
    for when in ("the first start on a machine", "from the second start on"):
        with started() as (_, (recording_ms, view_ms)):
            told(f"first page, with the recording, {when}", [recording_ms], 2000)
            print(f"\nthe model is loaded, and the view is open: {view_ms:.0f} ms")


@pytest.fixture
def page(started):
    with started() as (page, _):
        yield page


def test_an_hour(page, tmp_path):
    path = tmp_path / "hour.csv"
    path.write_text(simulated_csv("ppg", duration_s=3600))
    began = time.monotonic()
    page.set_input_files("#file", str(path))
    page.until(f"heartlens.state.recording.duration_s > 3500 && heartlens.paper.columns && {READ}")
    told("an hour of pulse, from the file to the screen", [1000 * (time.monotonic() - began)], 5000)
    page.select_option("#models", "ppg-sim-beat")  # how long the beats are looked for is measured elsewhere; the small model is soon done
    page.until("heartlens.state.model.asked === 'ppg-sim-beat'")
    page.view("beats", "heartlens.view.columns")
    page.click("#view button:text-is('all')")
    page.until("heartlens.view.stop.hidden")
    page.wait_for_timeout(400)
    told("beats of an hour: pan", frames(page, "turn => heartlens.view.look(heartlens.view.shown[0] + 3, heartlens.view.shown[1] + 3)"), 17)
    told("beats of an hour: zoom", frames(page, "turn => heartlens.view.zoom(turn % 4 < 2 ? 0.8 : 1.25)"), 17)
    page.evaluate("heartlens.paper.look(0, 600)")
    page.wait_for_timeout(300)
    told("the recording: pan", frames(page, "turn => heartlens.paper.look(10 * turn, 600 + 10 * turn)"), 17)


def test_edits_tokens_and_sliders(page):
    assert page.evaluate("heartlens.state.model.asked") == "ecg-af"
    page.view("arrhythmia", EDITED)
    page.evaluate("heartlens.timings.length = 0")
    times = page.evaluate(
        """async () => {
          const times = [], { view } = heartlens;
          for (let turn = 0; turn < 15; turn += 1) {
            const text = [`P:${(turn % 20) / 20}`, `P@2:${(turn % 20) / 20}`, `beat:3:${-0.01 * (1 + turn % 5)}`][turn % 3];
            const began = performance.now(), before = view.result;
            view.set(text.split(':').slice(0, text.startsWith('beat') ? 2 : 1).join(':'), text);
            while (view.result === before || view.isAsking) await new Promise(done => setTimeout(done));
            await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
            times.push(performance.now() - began);
            await new Promise(done => setTimeout(done, 700));
          }
          return times;
        }"""
    )
    told("an edit, to the new answer on the screen", times, 250)
    page.evaluate("heartlens.timings.length = 0; heartlens.slide(0.5)")
    page.until(f"{MAPPED}.length")
    told("map of all heads", page.evaluate(MAPPED), 1500)
    told("token, arrhythmia", frames(page, "turn => heartlens.pick(300 + turn)"), 100)
    page.view("attention", MAP)
    told("token, attention", frames(page, "turn => heartlens.pick(300 + turn)"), 100)
    told("zoom of the attention map", frames(page, "turn => { heartlens.view.zoom = [turn, 400, turn, 400]; heartlens.view.row(); }"), 17)
    page.view("similarity", "heartlens.view.answer")
    told("level, similarity", frames(page, "turn => heartlens.view.show(turn % 5)"), 100)
    told(
        "window slid, similarity",
        page.evaluate(
            """async () => {
              const times = [];
              for (let turn = 1; turn < 9; turn += 1) {
                const began = performance.now();
                await heartlens.slide(0.4 * turn);
                await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
                times.push(performance.now() - began);
              }
              return times;
            }"""
        ),
        100,
    )

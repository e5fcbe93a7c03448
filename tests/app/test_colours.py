"""What a colour says is said without it too: without any, waves on the window, bands of confidence and phases differ in shape."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

BARS = """() => {
  const { paper, state: { window: { waves }, recording } } = heartlens, { x, height } = paper.axes, half = (x(1) - x(0)) / 2;
  const box = paper.window.getBoundingClientRect();
  return recording.waves.map(name => waves.find(each => each.wave === name && each.first > 0)).map(({ first }) =>
    ({ x: Math.round(box.left + x(first) - half), y: Math.round(box.top + height - 24), width: 14, height: 8 }));
}"""
MARKS = """[...document.querySelectorAll('.beat-mark')].map(mark => mark.getBoundingClientRect())
  .map(({ x, y }) => ({ x: Math.round(x), y: Math.round(y), width: 9, height: 9 }))"""
# The second to ninth token in a row, an eighth of the cycle between them, the last of unknown phase; all others beside them.
ROW_OF_PHASES = """() => {
  const { view } = heartlens, { cloud: { place, phase } } = view, places = 10;
  view.others = [];
  view.reference = 500;
  const row = place.map(level => level.map((_, token) => [Math.min(token, places), 0]));
  view.cloud = { ...view.cloud, place: row, phase: phase.map((_, token) => token < 8 ? token / 8 : null) };
  view.drawPlane();
  const { left, top, width, height } = view.plane.getBoundingClientRect();
  const x = place => left + width / 2 + (place - (1 + places) / 2) * (width - 24) / (places - 1), y = top + height / 2;
  return Array.from({ length: 8 }, (_, place) => ({ x: Math.round(x(place + 1)) - 9, y: Math.round(y) - 9, width: 18, height: 18 }));
}"""


@pytest.fixture
def grey(page):
    """The page as who sees no colours sees it."""
    page.context.new_cdp_session(page.page).send("Emulation.setEmulatedVisionDeficiency", {"type": "achromatopsia"})
    return page


def drawn(page, box, theme="light"):
    """Where something is drawn in a part of the screen: darker than its brightest place, in the dark theme brighter than its darkest."""
    image = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("L"), float)
    return image < image.max() - 50 if theme == "light" else image > image.min() + 50


@pytest.mark.parametrize("example", ["simulated ECG, sinus rhythm", "simulated pulse wave, sinus rhythm"])
def test_waves_and_beats_differ_without_colours(grey, example):
    grey.select_option("#records", label=example)
    grey.until(f"heartlens.state.recording.name === '{example}' && !heartlens.opening.isOpening")
    shapes = [drawn(grey, box) for box in grey.evaluate(BARS)]
    if "pulse" in example:
        grey.view("beats", "heartlens.view.detected")
        marks = [drawn(grey, box) for box in grey.evaluate(MARKS)]
        assert all((mark != other).mean() > 0.08 for mark, other in combinations(marks, 2))
    assert len(shapes) >= 3
    assert all((mark != other).mean() > 0.15 for mark, other in combinations(shapes, 2))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_phases_in_the_plane_differ_without_colours(grey, theme):
    grey.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    grey.view("similarity", "heartlens.view.cloud")
    marks = [drawn(grey, box, theme) for box in grey.evaluate(ROW_OF_PHASES)]
    assert all(mark.sum() > 10 for mark in marks)
    assert all((mark != other).sum() > 5 for mark, other in combinations(marks, 2))

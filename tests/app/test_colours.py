"""What a colour says is said without it too: without any, the waves on the window and the bands of confidence differ in shape."""

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


@pytest.fixture
def grey(page):
    """The page as who sees no colours sees it."""
    page.context.new_cdp_session(page.page).send("Emulation.setEmulatedVisionDeficiency", {"type": "achromatopsia"})
    return page


def drawn(page, box):
    """Where something is drawn in a part of the screen: darker than its brightest place."""
    image = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("L"), float)
    return image < image.max() - 50


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

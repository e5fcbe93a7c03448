"""The page from end to end with the keyboard alone: nothing here uses the mouse, and the page's own state is only read."""

import pytest

ANSWERED = "heartlens.view.result && heartlens.view.effects && !heartlens.view.isAsking"
REGIONS = ["header", ".facts", "#overview", "#window", "#tabs", "#view", "footer"]  # from top to bottom
MOST_STEPS = 120


class Keys:
    """Someone who has no mouse."""

    def __init__(self, page):
        self.page, self.press, self.until, self.read = page, page.keyboard.press, page.until, page.evaluate

    def to(self, control, is_back=False):
        """Go to a control with Tab, or back to it; every stop shows that it has the focus."""
        for _ in range(MOST_STEPS):
            if self.has(control):
                return
            self.press("Shift+Tab" if is_back else "Tab")
            assert self.shows_focus(), self.read("document.activeElement.outerHTML")
        raise AssertionError(f"no {control} on the way")

    def has(self, control):
        """Whether a control has the focus."""
        return self.read("control => document.activeElement.matches(control)", control)

    def shows_focus(self):
        """Whether what has the focus is on the screen with an outline in the colour that nothing else has; none at the page's end."""
        return self.read(
            """() => {
              const { activeElement: at } = document, style = getComputedStyle(at), box = at.getBoundingClientRect();
              const accent = Object.assign(document.createElement('i'), { style: 'color: var(--accent)' });
              document.body.append(accent);
              const colour = getComputedStyle(accent).color;
              accent.remove();
              const isOutlined = style.outlineStyle !== 'none' && style.outlineColor === colour;
              return at === document.body || (isOutlined && box.width > 0 && box.bottom > 0 && box.top < innerHeight);
            }"""
        )

    def view(self, name, ready):
        """Open a view: back to the tabs, and along them."""
        is_below = self.read("document.activeElement.closest('#view, footer') !== null")
        self.to("#tabs [aria-selected=true]", is_back=is_below)
        while not self.has(f"#tab-{name}"):
            self.press("ArrowRight")
        self.until(f"heartlens.name === '{name}' && heartlens.view && ({ready})")


@pytest.fixture
def keys(page):
    return Keys(page)


def test_every_stop_of_tab_is_seen_and_in_the_order_of_the_screen(keys):
    keys.until(ANSWERED)
    regions = []
    for _ in range(MOST_STEPS):
        keys.press("Tab")
        assert keys.shows_focus(), keys.read("document.activeElement.outerHTML")
        if keys.has("body"):
            break
        regions.append(keys.read("regions => regions.findIndex(region => document.activeElement.closest(region))", REGIONS))
    assert regions == sorted(regions)
    assert set(regions) == set(range(len(REGIONS)))


def test_a_recording_a_model_and_the_what_if(keys):
    keys.to("#records")
    keys.press("ArrowDown")
    keys.until("heartlens.state.recording.name === 'simulated ECG, atrial fibrillation'")
    keys.to("#models")
    for key, model in (("ArrowUp", "ecg-sim"), ("ArrowDown", "ecg-sim-af")):
        while keys.read("document.activeElement.value") != model:
            keys.press(key)
        keys.until(f"heartlens.state.model.asked === '{model}'")
    keys.until(ANSWERED)
    before = keys.read("heartlens.view.result.before")

    keys.view("arrhythmia", ANSWERED)
    keys.to("#view input[aria-label='T waves']")
    keys.press("ArrowLeft")
    keys.press("ArrowLeft")
    keys.until(f"heartlens.view.stack.join() === 'T:0.9' && {ANSWERED}")
    assert keys.read("heartlens.view.result.after") != before
    keys.to("#window", is_back=True)
    keys.press("Shift+ArrowLeft")
    keys.press("[")
    keys.until(f"heartlens.view.stack[1]?.startsWith('beat:') && {ANSWERED}")

    keys.to("[data-part=L1H3]")
    keys.press("Enter")
    keys.until(f"heartlens.view.stack[2] === 'ablate:L1H3' && {ANSWERED}")
    without = keys.read("heartlens.view.result.after")
    keys.press("z")
    keys.until(f"heartlens.view.stack.length === 2 && {ANSWERED}")
    assert keys.read("heartlens.view.result.after") != without
    assert keys.has("[data-part=L1H3]")

    keys.to(".stack input", is_back=True)  # the list is made anew with every edit, and the focus stays
    keys.press("Space")
    keys.until(f"heartlens.view.stack.length === 1 && {ANSWERED}")
    assert keys.has(".stack input")
    keys.to(".stack button[aria-label$='take out']")
    keys.press("Enter")
    keys.until(f"heartlens.view.edits.edits.length === 1 && {ANSWERED}")
    assert keys.has(".stack button")


def test_attention_similarity_and_a_figure(keys, page):
    keys.view("attention", "heartlens.view.maps?.own && heartlens.view.lift")
    keys.to("#window", is_back=True)
    keys.press("ArrowLeft")
    assert keys.read("heartlens.state.token") == 498
    keys.to(".heads button[aria-label^=L2H3]")
    keys.press("Enter")
    keys.until("heartlens.view.split?.token === 498")
    assert keys.read("heartlens.view.chosen") == {"layer": 1, "head": 2}
    assert keys.has(".heads button[aria-label^=L2H3]")
    assert keys.shows_focus()
    keys.press("ArrowDown")
    keys.press("1")
    keys.until("heartlens.view.chosen.layer === 2 && heartlens.view.chosen.head === 0 && heartlens.view.split")
    keys.to("#view .why button:nth-child(2)")
    keys.press("Enter")
    key = keys.read("heartlens.view.key_")
    assert keys.has("#view .why button[aria-pressed=true]")
    keys.press(",")
    assert keys.read("heartlens.view.key_") == key - 1
    keys.press("+")
    assert keys.read("heartlens.view.zoom") != [0, 500, 0, 500]
    keys.to("#saving [title='Save the figure as SVG']")
    with page.expect_download() as download:
        keys.press("Enter")
    assert download.value.suggested_filename == "attention.svg"

    keys.view("similarity", "heartlens.view.answer")
    keys.to("#window", is_back=True)
    keys.press("ArrowLeft")
    keys.press("Enter")
    keys.until("heartlens.view.others.length === 3 && document.querySelectorAll('#view table tr').length === 5")
    keys.to("#view button[title='Forget the compared tokens']")
    keys.press("Enter")  # what a button does, not what the view does with the key
    keys.until("heartlens.view.others.length === 0")


def test_generate_beats_results_and_what_opens(keys, page):
    keys.view("generate", "true")
    keys.to("#view input")
    keys.press("Control+a")
    page.keyboard.type("40")
    keys.to("#view input[type=text]")
    page.keyboard.type("L99H1")
    keys.to("#view .row button")
    keys.press("Enter")
    keys.until("!document.getElementById('message').hidden")
    keys.to("#view input[type=text]", is_back=True)
    keys.press("Escape")
    assert page.is_hidden("#message")
    keys.press("Control+a")
    keys.press("Delete")
    keys.to("#view .row button")
    keys.press("Enter")
    keys.until("document.querySelector('#view [data-grown=\"40\"]')")
    keys.to("#saving [title='Save the numbers as CSV']")
    with page.expect_download() as download:
        keys.press("Space")
    assert download.value.suggested_filename.endswith(".csv")

    keys.view("beats", "document.querySelector('#view button')")
    keys.press("Tab")
    keys.press("Enter")  # "Open a simulated pulse wave"
    keys.until("heartlens.view.detected && heartlens.paper.layers.beats", 200)
    assert keys.has("#view")  # what had the focus is not there any more
    assert keys.read("document.getElementById('records').selectedOptions[0].textContent") == "simulated pulse wave, sinus rhythm"
    keys.to(".beat-chart")
    shown = keys.read("heartlens.view.shown")
    keys.press("+")
    nearer = keys.read("heartlens.view.shown")
    assert nearer[1] - nearer[0] < shown[1] - shown[0]
    keys.press("ArrowRight")
    assert keys.read("heartlens.view.shown")[0] > nearer[0]

    keys.view("results", "document.querySelector('#view .empty')")
    assert "No results are stored" in page.inner_text("#view")
    keys.press("?")
    assert keys.read("document.getElementById('keys').open")
    keys.press("Escape")
    assert not keys.read("document.getElementById('keys').open")
    assert keys.has("#tab-results")

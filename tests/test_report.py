"""The report stands alone, says what it was made from, and takes no text from a file for markup."""

import html
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from planted import model_of, random_state

from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import run
from heartlens.models.origin import Origin
from heartlens.report import inline, report
from heartlens.signals.simulate import simulated

SCAN = HeadScan(n_rotations=4, n_permutations=99, n_twins=2, twin_windows=1)
NASTY = "<script>alert(1)</script>&\"'.csv"


@pytest.fixture(scope="module")
def model():
    model = model_of(random_state())
    model.origin = Origin("my-own.pth", "ecg", None, "a" * 64, "f" * 64, "MIT", "", "none")
    return model


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", 2, 1)


def page_of(summary):
    return report(SCAN.findings(summary), inline(SCAN.plot(summary)), summary)


@pytest.fixture(scope="module")
def page(model, windows):
    return page_of(run(SCAN, model, windows))


@pytest.fixture(scope="module")
def nasty_page(model, windows):
    sources = (f"{NASTY} sha256:{'0' * 64}",)
    nasty = replace(windows, record=windows.record.astype("<U64"), sources=sources, notes=(NASTY,), skipped=((NASTY, 2),))
    nasty.record[:] = [NASTY, NASTY + "2"]
    return page_of(run(SCAN, model, nasty, keep_names=True))


def test_it_loads_nothing_from_elsewhere(page):
    assert page.startswith("<!doctype html>")
    for attribute in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert attribute.startswith(("#", "data:")), attribute
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import|url\((?!#)", page, re.IGNORECASE)
    assert page.count("<svg") == page.count("</svg>") == 1


def test_text_from_files_is_escaped(nasty_page):
    assert "<script" not in nasty_page
    assert nasty_page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # source, note, skipped, record under the figure


@pytest.mark.parametrize("name", ["$\\bad{$", "50 % $x_", "<b>&amp;", "心電図", "a\nb"])
def test_text_from_files_is_no_markup_in_a_figure(model, windows, name):
    record = np.array([name, f"{name}2"])
    summary = run(SCAN, model, replace(windows, record=record))
    svg = str(inline(SCAN.plot(summary)))
    assert ElementTree.fromstring(svg) is not None
    shown = html.unescape(re.sub(r"<[^>]*>", "", svg))
    assert name.split("\n")[0] in shown


def test_it_names_what_it_was_measured_on(page):
    assert "Head scan of my-own.pth" in page
    for promised in ("a" * 64, "f" * 64, "checkpoint fingerprint", "simulated ecg (sinus, seed 0)", "data sha256", "versions", "seed"):
        assert promised in page, promised


def test_it_says_how_many_were_tested(page):
    assert "Of 12 questions (4 heads x 3 waves): 12 not tested" in page


def test_it_says_simulated_of_simulated_signals_only(page, nasty_page):
    assert "Measured on SIMULATED signals, not on recordings." in page
    assert "SIMULATED" not in nasty_page


def test_it_says_what_to_doubt(nasty_page):
    assert "nothing is tested with fewer than 8" in nasty_page
    assert "2 twins were measured" in nasty_page
    assert "Left out: 2 x &lt;script&gt;" in nasty_page
    assert "not a medical device" in nasty_page


def test_survivors_are_a_table(model, windows):
    summary = run(SCAN, model, windows)
    summary["attends_verdict"].loc[{"query": "all", "wave": "QRS", "layer": 1, "head": 0}] = "yes"
    page = page_of(summary)
    row = re.search(r"<tbody><tr>(.*?)</tr></tbody>", page)
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    lift = float(summary["lift"].sel(query="all", wave="QRS", layer=1, head=0))
    assert cells[:4] == ["L2H1", "QRS", "yes", f"{lift:.2f}"]
    assert len(cells) == page.count('<th scope="col">')

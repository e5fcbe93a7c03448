"""The figure is drawn from the stored summary alone, the same bytes every time, and no missing number stops it."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from planted import model_of, random_state

from heartlens import figures
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import run
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.store import read_summary, write_summary

SCAN = HeadScan(n_rotations=4, n_permutations=99, n_twins=2, twin_windows=1)


@pytest.fixture(scope="module")
def ecg():
    return model_of(random_state())


@pytest.fixture(scope="module")
def stored(ecg, tmp_path_factory):
    path = tmp_path_factory.mktemp("result") / "summary.nc"
    write_summary(run(SCAN, ecg, simulated("ecg", 2, 1)), path)
    return path


@pytest.mark.parametrize("suffix", figures.FORMATS)
def test_the_same_summary_is_the_same_file(stored, suffix, tmp_path):
    for name in ("one", "two"):
        figures.save(SCAN.plot(read_summary(stored)), tmp_path / f"{name}.{suffix}")
    one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[suffix])
    assert len(one) > 10_000


def test_a_head_that_is_strongest_at_two_waves_has_one_line(stored):
    summary = read_summary(stored)
    summary["lift"] = summary["lift"].copy()
    summary["lift"].loc[{"wave": ["P", "QRS"], "layer": summary["layer"][0], "head": summary["head"][1]}] = 99.0
    summary["lift"].loc[{"wave": "T", "layer": summary["layer"][0], "head": summary["head"][0]}] = 99.0
    labels = [text.get_text() for axes in SCAN.plot(summary).axes if (legend := axes.get_legend()) for text in legend.get_texts()]
    assert [label for label in labels if "strongest" in label] == ["L1H2, strongest at P and QRS", "L1H1, strongest at T"]


def test_text_in_the_vector_formats_stays_text(stored, tmp_path):
    figures.save(SCAN.plot(read_summary(stored)), tmp_path / "scan.svg")
    assert "lift (share / even share)" in (tmp_path / "scan.svg").read_text()


def test_the_stored_summary_is_enough(stored):
    """Reading and drawing a result loads neither torch nor pyplot, and shows nothing."""
    lines = (
        "import sys",
        "from heartlens.analyses.head_scan import HeadScan",
        "from heartlens.store import read_summary",
        f"figure = HeadScan().plot(read_summary({str(stored)!r}))",
        "print(isinstance(figure, sys.modules['matplotlib.figure'].Figure))",
        "print([name for name in ('torch', 'transformer_lens', 'matplotlib.pyplot') if name in sys.modules])",
    )
    told = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["True", "[]"]


def drawn(summary, tmp_path):
    figure = SCAN.plot(summary)
    assert isinstance(figure, Figure)
    figures.save(figure, tmp_path / "scan.svg")
    return (tmp_path / "scan.svg").read_text()


def test_the_figure_says_what_was_measured_on_what(stored, tmp_path):
    summary = read_summary(stored)
    assert "planted" in drawn(summary, tmp_path)
    assert "2 records, 2 windows of SIMULATED signals" in drawn(summary, tmp_path)
    assert "2 windows of recordings" in drawn(summary.assign_attrs(data_is_simulated=0), tmp_path)


def test_names_of_waves_do_not_overlap_on_a_page_of_one_column(stored):
    with figures.look(figures.COLUMN_MM):
        page = SCAN.plot(read_summary(stored))
    page.draw_without_rendering()
    names = [text for axes in page.findobj(Axes) for strip in axes.child_axes for text in strip.texts]
    assert [text.get_text() for text in names] == ["P", "QRS", "T"]
    for one, other in combinations([text.get_window_extent() for text in names], 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("waves", [("QRS", "T"), ("QRS",), ()], ids=lambda waves: f"with {'+'.join(waves) or 'no wave'}")
def test_waves_that_nobody_has(ecg, waves, tmp_path):
    summary = run(SCAN, ecg, regular("ecg", 2, waves))
    assert summary["lift"].sel(query="all").isnull().all(("layer", "head")).values.tolist() == [w not in waves for w in ("P", "QRS", "T")]
    drawn(summary, tmp_path)
    assert "P: not tested, no record has this wave." in SCAN.findings(summary).verdict


def test_one_record(ecg, tmp_path):
    summary = run(SCAN, ecg, simulated("ecg", 1, 1))
    drawn(summary, tmp_path)
    assert not SCAN.findings(summary).rows


def test_no_twins(ecg, tmp_path):
    summary = run(replace(SCAN, n_twins=0), ecg, simulated("ecg", 2, 1))
    drawn(summary, tmp_path)
    assert "12 not tested" in " ".join(SCAN.findings(summary).verdict)


def test_places_that_nobody_knows(ecg, tmp_path):
    windows = regular("ecg", 2)
    lost = replace(windows, position=np.full_like(windows.position, np.nan), wave=np.full_like(windows.wave, -1))
    summary = run(SCAN, ecg, replace(lost, segment=np.full_like(windows.segment, -1)))
    drawn(summary, tmp_path)
    assert SCAN.findings(summary).verdict


def test_pulses(tmp_path):
    text = drawn(run(SCAN, model_of(random_state(vocabulary=102), "ppg"), simulated("ppg", 2, 1)), tmp_path)
    assert "dicrotic notch" in text
    assert "cycles from the foot" in text

"""The paper report: its verdicts follow from summaries alone and can say no; a stopped run goes on; nothing is measured twice."""

import io
import json
import re
import shutil
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace

import pytest

from heartlens import store
from heartlens.analyses.attention_cycles import AttentionCycles
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import MODEL, fold, silent, summarize
from heartlens.analysis import measure as measured
from heartlens.folder import Folder
from heartlens.models.planted import SamePhase, Wave, planted
from heartlens.models.subject import subject_of
from heartlens.paper import __main__ as command
from heartlens.paper import claims, data, measure, plan, report
from heartlens.paper.data import AS_IT_IS, SOURCES, VARIANTS, Recordings
from heartlens.paper.measure import Bench
from heartlens.paper.plan import Job
from heartlens.signals.simulate.regular import regular

WINDOWS = regular("ecg", 8)
SCAN = HeadScan(variant="published", n_twins=20, twin_windows=8)
CYCLES = AttentionCycles(n_permutations=999, n_twins=50, twin_windows=8)
P_HEAD = (1, 4)  # of the last layer, as the paper's ECG head 5


@pytest.fixture(scope="module")
def found():
    """A model with a P head and a same-phase head in its last layer, and one that attends evenly, whose twins both are judged beside."""
    plants = {P_HEAD: Wave("P"), **{(1, head): SamePhase(lag=1) for head in (0, 1, 2)}}
    model, summaries = planted(plants, WINDOWS), {}
    for kind, analysis in (("scan", SCAN), ("cycles", CYCLES)):
        even = measured(analysis, planted({}, WINDOWS), WINDOWS)
        own = {MODEL: fold(analysis.for_twins(), subject_of(model), WINDOWS, silent)}
        of_planted = replace(measured(replace(analysis, n_twins=0), model, WINDOWS), twins=even.twins | own)
        summaries |= {("even", kind): summarize(analysis, even), ("planted", kind): summarize(analysis, of_planted)}
    return summaries


def named(summary, head, wave):
    return claims.named_head("scan", "causal", head, wave, {"scan": summary})


def test_a_named_head_is_told_from_heads_that_are_none(found):
    scan = found["planted", "scan"]
    assert named(scan, P_HEAD[1], "P").verdict == "yes"
    assert named(scan, P_HEAD[1], "T").verdict == "no"
    assert named(scan, 6, "P").verdict == "no"
    assert named(found["even", "scan"], P_HEAD[1], "P").verdict == "no"
    assert "rank 1 of 16 heads" in named(scan, P_HEAD[1], "P").why


def test_a_head_the_model_has_not_is_not_tested(found):
    assert named(found["planted", "scan"], 8, "P").verdict == "not tested"


def test_a_head_that_prefers_another_wave_is_partly_right(found):
    scan = found["planted", "scan"].copy(deep=True)
    scan["attends_verdict"].loc[{"query": "all", "wave": "T", "layer": 1, "head": P_HEAD[1]}] = "yes"
    assert named(scan, P_HEAD[1], "T").verdict == "partly"


def test_aggregation_and_broadening_can_say_no(found):
    assert claims.aggregation("cycles", {"cycles": found["planted", "cycles"]}).verdict == "yes"
    assert claims.aggregation("cycles", {"cycles": found["even", "cycles"]}).verdict == "no"
    assert claims.broadening("cycles", {"cycles": found["even", "cycles"]}).verdict == "no"
    assert claims.broadening("cycles", {"cycles": found["planted", "cycles"]}).verdict == "no"  # planted heads are narrow


def test_every_claim_rests_on_planned_jobs_and_every_job_on_a_known_set():
    names = [job.name for job in plan.JOBS]
    assert len(set(names)) == len(names)
    assert {job for claim in claims.CLAIMS for job in claim.jobs} <= set(names)
    assert {job.source for job in plan.JOBS} <= SOURCES.keys()
    assert set(claims.VARIED) <= set(names)


def test_figures_are_vectors_and_pixels():
    assert {"pdf", "png", "svg"} == set(measure.FORMATS)


def test_each_set_says_whether_the_models_may_have_seen_it():
    assert all(source.seen for source in SOURCES.values())
    assert "TRAINED on BIDMC" in SOURCES["pulses"].seen


def test_a_variant_that_flips_the_verdict_is_marked():
    judged = claims.Judged("yes", "", "", "")
    row = report.Row(claims.CLAIMS[0], judged, 5, {"noise at 10 dB": "no", "another seed": "yes"})
    assert row.stability == "UNSTABLE (noise at 10 dB: no)"
    assert report.Row(claims.CLAIMS[0], judged, 5, {"another seed": "yes"}).stability == "stable under 1 variants"
    refuted = replace(judged, verdict="no")
    varied = {"another seed": "not shown", "band-passed": "not tested"}
    assert report.Row(claims.CLAIMS[0], refuted, 5, varied).stability == "stable under 1 variants"
    assert report.Row(claims.CLAIMS[0], refuted, 5, {"band-passed": "not tested"}).stability == ""


def test_variants_change_what_they_say():
    sets = Recordings(None, None)
    plain = sets.windows("ludb", AS_IT_IS, 4)
    assert plain.sources[0].startswith("simulated")
    assert len(plain) == 4
    assert (sets.windows("ludb", "noise at 10 dB", 4).tokens != plain.tokens).any()
    assert sets.windows("ludb", "noise at 10 dB", 4).notes[-1] == "white noise added at 10 dB"
    assert plan.JOBS[0].varied("another seed").analysis.seed == 1


@contextmanager
def small_jobs():
    """Within it the paper is two small jobs of a planted model on simulated people; gives a list to which every measured job is added."""
    options = {"n_permutations": 99, "n_twins": 2, "twin_windows": 1}
    jobs = (
        Job("cycles-ecg", AttentionCycles(**options), "ecg", "ludb", 3),
        Job("heads-published-ecg", HeadScan(**options, variant="published", fine=True, n_rotations=4), "ecg", "ludb", 3),
    )
    model = planted({(1, 0): SamePhase(lag=1)}, WINDOWS)
    measured = []
    own = Bench.measure

    def watched(bench, job):
        own(bench, job)
        measured.append((job.name, job.variant))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "JOBS", jobs)
        patch.setattr(measure, "_loaded", lambda checkpoint, published_only: subject_of(model))
        patch.setattr(data, "N_SIMULATED", 3)
        patch.setattr(measure, "FORMATS", ["svg"])  # of the formats one is enough here
        for module in (command, report):
            patch.setattr(module, "VARIANTS", {name: VARIANTS[name] for name in (AS_IT_IS, "noise at 10 dB")})
        patch.setattr(Bench, "measure", watched)
        data._read.cache_clear()
        yield measured
        data._read.cache_clear()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one whole run of the command wrote, what it measured and what it printed; not to be changed."""
    out, printed = tmp_path_factory.mktemp("whole") / "paper", io.StringIO()
    with small_jobs() as measured, redirect_stdout(printed):
        assert command.run_command(["--out", str(out)]) == 0
    return out, measured, printed.getvalue()


@pytest.fixture
def stored(whole, tmp_path):
    """A copy of what that run wrote, for the command to go on with, and what it measures from now on."""
    shutil.copytree(whole[0], tmp_path / "paper")
    with small_jobs() as measured:
        yield tmp_path / "paper", measured


def test_the_command_writes_a_report_of_what_is_stored(whole):
    out, measured, printed = whole
    assert len(measured) == 4
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    assert "These are not the paper&#39;s weights" in page or "These are not the paper's weights" in page
    assert page.count("<svg") == 2
    assert not re.search(r'(src|href)="http', page)
    for job, figure in (("cycles-ecg", "attention_cycles"), ("heads-published-ecg", "head_scan")):
        assert {"summary.nc", "tally.nc", f"{figure}.svg", "report.html"} <= {path.name for path in (out / job).iterdir()}
    rows = json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert [row["claim"] for row in rows] == ["A ECG", "A' ECG", "C ECG H1", "C ECG H5", "C ECG H7"]
    lift = store.read_summary(out / "cycles-ecg" / "summary.nc")["layer_same_phase_lift"].values[-1]
    assert rows[0]["effect"].startswith(f"same-phase lift {lift:.2f}")
    assert printed.startswith("A ECG: ")


def test_the_claims_are_printed_as_json(stored, capsys):
    out, _ = stored
    assert command.run_command(["--out", str(out), "--quick", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["claims"] == json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert printed["files"] == [str(out / "report.html"), str(out / "claims.json")]


def test_page_and_claims_appear_together_or_not_at_all(stored, capsys, monkeypatch):
    """Whatever stops the second file, the page and the claims of before stay, with the jobs that were measured since."""
    out, measured = stored
    before = {name: (out / name).read_bytes() for name in report.WRITTEN}
    (out / "mine.txt").write_text("mine")
    (out / "cycles-ecg" / "job.json").unlink()
    own = store.write_text

    def full(path, text):
        if path.name == "claims.json":
            raise OSError(28, "No space left on device")
        own(path, text.replace("<body", "<body class=new"))

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_text", full)
        assert command.run_command(["--out", str(out), "--quick"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in report.WRITTEN} == before
    measured.clear()
    assert command.run_command(["--out", str(out), "--quick"]) == 0
    assert measured == []
    assert (out / "mine.txt").read_text() == "mine"
    assert [path.name for path in out.parent.iterdir()] == ["paper"]
    assert not Folder(out / "cycles-ecg").is_result or (out / "cycles-ecg" / "summary.nc").is_file()


def test_what_is_stored_is_not_measured_again_and_what_was_lost_is(stored):
    out, measured = stored
    assert command.run_command(["--out", str(out)]) == 0
    assert measured == []
    (out / "cycles-ecg" / "job.json").unlink()
    assert command.run_command(["--out", str(out)]) == 0
    assert measured == [("cycles-ecg", AS_IT_IS)]


def test_other_options_are_measured_anew(stored, monkeypatch):
    """And with `--quick` without variants."""
    out, measured = stored
    monkeypatch.setattr(plan, "JOBS", tuple(Job(job.name, job.analysis, job.checkpoint, job.source, 2) for job in plan.JOBS))
    assert command.run_command(["--out", str(out), "--quick"]) == 0
    assert measured == [("cycles-ecg", AS_IT_IS), ("heads-published-ecg", AS_IT_IS)]


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert command.run_command(["--data", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_sets_that_are_missing_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HEARTLENS_CHECKPOINTS", raising=False)  # beside which the published examples may lie
    assert command.run_command(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "no ludb/*.hea in" in told
    assert "give --examples" in told
    assert not (tmp_path / "out").exists()

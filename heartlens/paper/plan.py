"""What the paper report measures: each job is one analysis of one checkpoint on one set of recordings, in a folder of its own."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from heartlens.analyses.attention_cycles import AttentionCycles
from heartlens.analyses.attention_shift import AttentionShift
from heartlens.analyses.head_scan import HeadScan
from heartlens.analyses.homonyms import Homonyms
from heartlens.analyses.similarity_screen import SimilarityScreen
from heartlens.analysis import Twinned
from heartlens.paper.data import AS_IT_IS, VARIANTS
from heartlens.provenance import versions

ECG_WINDOWS, PPG_WINDOWS = 50, 60
N_VARIED = 25  # windows a varied job is measured on
FEW: dict[str, Any] = {"n_twins": 49, "twin_windows": 12}  # of what no claim rests on, and of varied jobs, which draw their own
ONE_EACH = 25  # windows on which twins are measured where there are as many recordings of pulse waves
QUICK_WINDOWS, QUICK_TWINS = 8, 49  # the fewest with which an answer can be yes
PAPERS_QUERY = {"ecg": 418, "ppg": 450}  # the token whose attention the paper draws
SCREENS = {"ecg": SimilarityScreen(458, "464,381"), "ppg": SimilarityScreen(485, "460,71")}  # the PPG's is the published one


@dataclass(frozen=True)
class Job:
    """One measurement. A varied job has the name of the one it varies."""

    name: str
    analysis: Any
    checkpoint: str
    source: str
    n_windows: int
    variant: str = AS_IT_IS

    @property
    def folder(self) -> str:
        """Where its results go, below the report's folder."""
        return self.name if self.variant == AS_IT_IS else f"varied/{self.name}/{self.variant.replace(' ', '-')}"

    @property
    def cost(self) -> float:
        """About how long it takes, in windows."""
        n_twins = self.analysis.n_twins if isinstance(self.analysis, Twinned) else 0
        return self.n_windows + n_twins * min(self.analysis.twin_windows if n_twins else 0, self.n_windows)

    def key(self, fingerprint: str) -> str:
        """What decides its result, except the recordings' content: a job whose stored result has the same key is not measured again."""
        named = {
            "job": asdict(self),
            "analysis": type(self.analysis).__name__,
            "fingerprint": fingerprint,
            "version": versions()["heartlens"],
        }
        return json.dumps(named, sort_keys=True)

    def varied(self, variant: str) -> "Job":
        """The same, on changed data or with another seed."""
        few = FEW | ({"twin_windows": N_VARIED} if isinstance(self.analysis, AttentionShift) else {})  # few persons' beats are irregular
        analysis = replace(self.analysis, seed=self.analysis.seed + VARIANTS[variant].seed, **few)
        return replace(self, analysis=analysis, variant=variant, n_windows=min(self.n_windows, N_VARIED))


def _of_base(kind: str, source: str, n_windows: int) -> list[Job]:
    """What is measured of a base model on its main set."""
    twin_windows = ONE_EACH if source == "pulses" else n_windows
    return [
        Job(f"cycles-{kind}", AttentionCycles(twin_windows=twin_windows), kind, source, n_windows),
        Job(f"cycles-by-value-{kind}", AttentionCycles(weights="value", **FEW), kind, source, n_windows // 2),
        Job(f"rollout-{kind}", AttentionCycles(weights="rollout", n_twins=49, twin_windows=8), kind, source, n_windows // 2),
        Job(f"homonyms-{kind}", Homonyms(), kind, source, n_windows),
        Job(f"homonyms-normed-{kind}", Homonyms(vectors="normed", **FEW), kind, source, n_windows // 2),
        Job(f"heads-{kind}", HeadScan(fine=True, **FEW), kind, source, n_windows),
        Job(f"heads-published-{kind}", HeadScan(variant="published", fine=True, twin_windows=twin_windows), kind, source, n_windows),
        Job(f"example-{kind}", AttentionCycles(asking_token=PAPERS_QUERY[kind], n_twins=0), kind, f"examples-{kind}", 4),
        Job(f"screen-{kind}", SCREENS[kind], kind, f"example-{kind}", 1),
    ]


JOBS = (
    *_of_base("ecg", "ludb", ECG_WINDOWS),
    Job("cycles-ecg-qtdb", AttentionCycles(), "ecg", "qtdb", 33),
    *_of_base("ppg", "pulses", PPG_WINDOWS),
    Job("shift-ecg-af", AttentionShift(), "ecg-af", "cinc2017", 63),
    Job("shift-ppg-af", AttentionShift(twin_windows=ONE_EACH), "ppg-af", "pulses", PPG_WINDOWS),
    Job("shift-ecg-af-examples", AttentionShift(n_twins=0), "ecg-af", "examples-ecg", 4),
    Job("shift-ppg-af-examples", AttentionShift(n_twins=0), "ppg-af", "examples-ppg", 4),
    Job("shift-ppg-beat", AttentionShift(**FEW), "ppg-beat", "pulses", PPG_WINDOWS // 2),
)


def planned(quick: bool) -> list[Job]:
    """All jobs; `quick`: few windows and twins."""
    return [_quick(job) for job in JOBS] if quick else list(JOBS)


def _quick(job: Job) -> Job:
    twins = {"n_twins": min(job.analysis.n_twins, QUICK_TWINS), "twin_windows": QUICK_WINDOWS} if isinstance(job.analysis, Twinned) else {}
    return replace(job, analysis=replace(job.analysis, **twins), n_windows=min(job.n_windows, QUICK_WINDOWS))

"""The paper's claims, each read off stored summaries alone: the verdict, by how much, against which null, over how many records.

The paper gives no rules: `inference/verdict.py` decides, and this module says which verdicts answer which claim.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from heartlens.analyses.attention_cycles import words as attention_cycles_words
from heartlens.analyses.attention_shift import words as attention_shift_words
from heartlens.analyses.homonyms import words as homonyms_words
from heartlens.axes import head_label
from heartlens.inference.verdict import NOT_TESTED, is_yes, only_if, whole
from heartlens.wording import with_interval

Summaries = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Judged:
    """A verdict and the numbers it rests on."""

    verdict: str
    effect: str
    null: str
    why: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its words, and how summaries of `jobs` decide it. The first job is the one that is varied."""

    name: str
    text: str
    jobs: tuple[str, ...]
    judge: Callable[[Summaries], Judged]


def aggregation(job: str, summaries: Summaries) -> Judged:
    """The last layer, summed over its heads: same-phase lift over earlier cycles."""
    last_layer = summaries[job].isel(layer=-1)
    why, verdict = attention_cycles_words.last_layer(summaries[job]), str(last_layer["layer_same_phase_verdict"].values)
    heads = is_yes(summaries[job], "same_phase")
    effect = with_interval(last_layer, "layer_same_phase_lift")
    null = f"phase rotated: q {float(last_layer['layer_q_value']):.4f}; p among twins {float(last_layer['layer_same_phase_twin_p']):.3f}"
    return Judged(verdict, f"same-phase lift {effect}", null, f"{why} {int(heads.sum())} of {heads.size} single heads do.")


def broadening(job: str, summaries: Summaries) -> Judged:
    """Effective tokens over layers."""
    verdict, why = attention_cycles_words.broadens(summaries[job]), attention_cycles_words.broadening(summaries[job])
    twins = summaries[job]["twin_slope"].values
    null = f"twins' slopes {twins.min():.2f} to {twins.max():.2f}" if len(twins) else "no twins"
    return Judged(verdict, f"{with_interval(summaries[job], 'slope')} tokens a layer", null, why)


def homonyms(job: str, label: str, summaries: Summaries) -> Judged:
    """Homonyms: they come apart at the last level, and more than at the embedding."""
    summary = summaries[job].sel(label=label)
    last = summary.isel(level=-1)
    verdict = whole({"apart in the last block": str(last["apart_verdict"].values), "grows": str(summary["grows_verdict"].values)})
    twins = f"p among twins {float(last['apart_twin_p']):.3f}, of growth {float(summary['grows_twin_p']):.3f}"
    null = f"labels shuffled within a value: q {float(last['q_value']):.4f}; {twins}"
    effect = f"cosine within less between, less shuffled, last block: {with_interval(last, 'effect', '.3f')}"
    return Judged(verdict, effect, null, " ".join(homonyms_words.of_label(summary, label)))


def named_head(job: str, causal: str, head: int, wave: str, summaries: Summaries) -> Judged:
    """A head of the last layer at its wave: it attends to it, and to no wave more."""
    if head >= summaries[job].sizes["head"]:
        return Judged(NOT_TESTED, "", "", f"This model has {summaries[job].sizes['head']} heads a layer.")
    scan = summaries[job].sel(query="all").isel(layer=-1)
    lifts = scan["lift"].sel(head=head)
    at_wave = scan.sel(head=head, wave=wave)
    if lifts.isnull().all():
        return Judged(NOT_TESTED, "", "", "No record has this wave.")
    best = str(lifts["wave"].values[int(np.nanargmax(lifts.values))])
    verdict = only_if(best == wave, str(at_wave["attends_verdict"].values))
    rank = 1 + int((summaries[job].sel(query="all", wave=wave)["lift"] > float(at_wave["lift"])).sum())
    masked = summaries[causal].sel(query="all", wave=wave, head=head).isel(layer=-1) if causal in summaries else None
    n_heads = summaries[job].sizes["layer"] * summaries[job].sizes["head"]
    why = f"Strongest at {best.replace('_', ' ')} ({float(lifts.max()):.2f}); rank {rank} of {n_heads} heads at its wave."
    why += f" AUC {float(at_wave['auc']):.2f}."
    if masked is not None:
        why += f" With the causal mask kept: lift {with_interval(masked, 'lift')}, AUC {float(masked['auc']):.2f}."
    null = f"phase rotated: q {float(at_wave['q_value']):.4f}; p among twins {float(at_wave['attends_twin_p']):.3f}"
    return Judged(verdict, f"{head_label(int(summaries[job]['layer'][-1]), head)} lift {with_interval(at_wave, 'lift')}", null, why)


def shifted(job: str, summaries: Summaries) -> Judged:
    """After fine-tuning, the last layer's attention on cycles of irregular interval, mean over heads."""
    summary = summaries[job]
    last_layer = summary.sel(feature="irregular").isel(layer=-1)
    verdict, why = attention_shift_words.claim(summary), attention_shift_words.why(summary)
    null = (
        f"cycles shuffled: q {float(last_layer['layer_effect_q_value']):.4f}; p among twins {float(last_layer['layer_effect_twin_p']):.3f}"
    )
    lost = float(summary["lost"].isel(layer=-1).mean() / (summary["gained"] + summary["lost"]).isel(layer=-1).mean())
    return Judged(
        verdict, f"{with_interval(last_layer, 'layer_effect')} even shares", null, f"{why} {100 * lost:.0f} % of the change is loss."
    )


def _of_kind(kind: str) -> tuple[Claim, ...]:
    cycles, apart = f"cycles-{kind}", f"homonyms-{kind}"
    named = kind.upper()
    return (
        Claim(f"A {named}", "Attention aggregates on similar points of earlier cycles", (cycles,), partial(aggregation, cycles)),
        Claim(f"A' {named}", "Attention gradually broadens with depth", (cycles,), partial(broadening, cycles)),
        Claim(f"B {named} slope", "Homonyms on rising and falling slopes come apart", (apart,), partial(homonyms, apart, "slope")),
        Claim(f"B {named} phase", "Homonyms cluster by phase of the cycle", (apart,), partial(homonyms, apart, "phase")),
    )


def _named(kind: str, head: int, wave: str, what: str) -> Claim:
    jobs = (f"heads-published-{kind}", f"heads-{kind}")
    text = f"Head {head} of the last layer responds to {what}"
    return Claim(f"C {kind.upper()} H{head}", text, jobs, partial(named_head, *jobs, head - 1, wave))


def _shift(job: str, signal: str) -> Claim:
    return Claim(f"D {signal}", "After AF fine-tuning attention moves to irregular beats", (job,), partial(shifted, job))


CLAIMS = (
    *_of_kind("ecg"),
    *_of_kind("ppg"),
    _named("ppg", 3, "systolic_peak", "peaks"),
    _named("ppg", 4, "foot", "troughs"),
    _named("ppg", 6, "dicrotic_notch", "the dicrotic notch"),
    _named("ecg", 1, "R", "the R peak"),
    _named("ecg", 5, "P", "the P wave"),
    _named("ecg", 7, "Q", "the Q wave"),
    _shift("shift-ecg-af", "ECG"),
    _shift("shift-ppg-af", "PPG"),
)
VARIED = tuple(dict.fromkeys(claim.jobs[0] for claim in CLAIMS))

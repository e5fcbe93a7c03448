"""From a probability for each token to events in time, record by record, and how many of the true ones they find.

Overlapping windows of a record are averaged token by token, as the published beat detector does; an event is found within 0.15 s.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64

from heartlens.axes import KINDS
from heartlens.measures.beat_matching import averaged, beats_of, match
from heartlens.measures.detection import ratio
from heartlens.training.evaluation import Figures, figure
from heartlens.training.examples import Examples

THRESHOLDS = np.round(np.arange(0.02, 0.9, 0.02), 2)

Score = Float[np.ndarray, "window time"]
Counts = Float64[np.ndarray, "record count"]  # events found, missed and invented


def event_counts(score: Score, examples: Examples, threshold: Mapping[str, float]) -> Counts:
    """What is found, missed and invented in each record, at the record's threshold."""
    return np.array([_counts(record, score, examples, threshold[record]) for record in examples.records], float)


def event_figures(score: Score, examples: Examples, threshold: Float[np.ndarray, " window"], seed: int) -> Figures:
    """Sensitivity, precision and F1, with intervals over persons, or records."""
    of_record = dict(zip(examples.record.tolist(), threshold.tolist(), strict=True))
    found, missed, invented = event_counts(score, examples, of_record).T
    names = np.array([examples.person_of.get(record) or record for record in examples.records])
    statistics = {
        "event sensitivity": lambda i: ratio(found[i].sum(), (found + missed)[i].sum()),
        "event precision": lambda i: ratio(found[i].sum(), (found + invented)[i].sum()),
        "event f1": lambda i: ratio(2 * found[i].sum(), (2 * found + missed + invented)[i].sum()),
    }
    return {name: figure(statistic, names, None, seed) for name, statistic in statistics.items()}


def best_event_threshold(score: Score, examples: Examples) -> float:
    """The threshold with the best F1 over all records; of several the middle one."""
    f1 = []
    for threshold in THRESHOLDS:
        found, missed, invented = event_counts(score, examples, dict.fromkeys(examples.records, float(threshold))).sum(axis=0)
        f1.append(ratio(2 * found, 2 * found + missed + invented))
    best = np.flatnonzero(np.array(f1) == max(f1))
    return float(THRESHOLDS[best[len(best) // 2]])


def _counts(record: str, score: Score, examples: Examples, threshold: float) -> tuple[int, int, int]:
    """Tokens that no window covers are no events, and the true events there are not asked for."""
    rate_hz, which = KINDS[examples.kind].rate_hz, examples.where([record])
    first_s = float(examples.start_s[which].min())
    start = np.round((examples.start_s[which] - first_s) * rate_hz).astype(int)
    said = averaged(score[which].astype(float), start, int(start.max()) + score.shape[1])
    found_s = beats_of(np.nan_to_num(said), rate_hz, threshold) / rate_hz
    true_s = (examples.event_s or {})[record] - first_s
    token = np.round(true_s * rate_hz).astype(int)
    inside = (token >= 0) & (token < len(said))
    inside[inside] = np.isfinite(said[token[inside]])
    matches = match(found_s, true_s[inside])
    return matches.hits, matches.misses, matches.extras

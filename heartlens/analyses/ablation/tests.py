"""What taking parts away does to every readout: effect, standard error, 95 % interval over records and p-value. Arrays only.

Readouts whose bottom nothing changes (nats a token, misses a beat) are ratios of sums, tested all at once; AUC, F1 and calibration, into
which records go as a whole, are tested one by one (`inference/paired.py`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from heartlens.inference import paired
from heartlens.inference.intervals import change_error, change_interval
from heartlens.measures.resample import over

Arrays = dict[str, np.ndarray]
NAMES = ("effect", "error", "low", "high", "p_value")
OF_LABELS = ("auc", "sensitivity", "specificity", "f1", "brier", "calibration_error")


@dataclass(frozen=True)
class Records:
    """The records with nothing taken away: the readouts' sums and what they are divided by, (record, readout), and how to test.

    `task` is what the names of the task head's readouts begin with: readouts of the caller come before them. `positive` is 1 or 0 for a
    record with a label, else -1; None: no labels were given.
    """

    names: tuple[str, ...]
    task: str
    intact: np.ndarray
    bottom: np.ndarray
    positive: np.ndarray | None
    threshold: float
    seed: int
    n_permutations: int

    @property
    def merits(self) -> tuple[str, ...]:
        """The readouts that are no ratio of sums with a fixed bottom."""
        if self.task == "beat":
            return ("beat_f1",)
        return () if self.positive is None else tuple(f"{self.task}_{name}" for name in OF_LABELS)

    @property
    def readouts(self) -> tuple[str, ...]:
        """All readouts, as every array's last axis has them."""
        return self.names + self.merits

    @cached_property
    def chosen(self) -> np.ndarray:
        """The records that merits are of."""
        return np.arange(len(self.intact)) if self.positive is None else np.flatnonzero(self.positive >= 0)

    @cached_property
    def draws(self) -> paired.Draws:
        stratum = np.zeros(len(self.chosen), int) if self.positive is None else self.positive[self.chosen].astype(int)
        return paired.draws(stratum, seed=self.seed, n_permutations=self.n_permutations)

    @property
    def n_with(self) -> np.ndarray:
        """How many records have each readout; where labels are compared, the records of the rarer label."""
        return np.append((self.bottom > 0).sum(axis=0), np.full(len(self.merits), min(map(len, self.draws.strata), default=0)))

    @property
    def n_labelled(self) -> int:
        return 0 if self.positive is None else len(self.chosen)

    def merit(self, name: str, ablated: np.ndarray) -> paired.Merit:
        """A figure of merit of the records, intact and with one variant's sums (record, readout)."""
        both = np.stack([self.intact[self.chosen], ablated[self.chosen]])
        if self.positive is None:
            return paired.ratio(*self._f1_of_beats(both))
        place = self.names.index(f"{self.task}_probability")
        probability = both[..., place] / self.bottom[self.chosen, place]
        return _of_labels(name.removeprefix(f"{self.task}_"), probability, self.positive[self.chosen] == 1, self.threshold)

    def _f1_of_beats(self, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """2 hits over 2 hits + misses + extras, top and bottom by version and record."""
        misses, extras = (both[..., self.names.index(name)] for name in ("beat_misses", "beat_extras"))
        hits = self.bottom[self.chosen, self.names.index("beat_misses")] - misses
        return 2 * hits, 2 * hits + misses + extras


def tested(ablated: np.ndarray, records: Records) -> Arrays:
    """NAMES of variants (variant, readout), given their sums (record, variant, readout)."""
    change = paired.settled(ablated, np.broadcast_to(records.intact[:, None], ablated.shape))
    bottom = np.broadcast_to(records.bottom[:, None], change.shape)
    error, (low, high) = change_error(change, bottom), change_interval(change, bottom)
    p_value = paired.p_values_of_change(change, seed=records.seed, n_permutations=records.n_permutations)
    ratios = (over(change.sum(axis=0), bottom.sum(axis=0)), error, low, high, np.where(np.isnan(low), np.nan, p_value))
    step = 0.0 if records.positive is None else paired.auc_step(records.positive == 1, records.positive == 0)
    changes = [
        [paired.change(records.merit(name, variant), records.draws, step if name.endswith("_auc") else 0.0) for name in records.merits]
        for variant in np.moveaxis(ablated, 1, 0)
    ]
    merits = (np.array([[getattr(merit, name) for merit in row] for row in changes]).reshape(len(changes), -1) for name in NAMES)
    return {name: np.concatenate(pair, axis=1) for name, pair in zip(NAMES, zip(ratios, merits, strict=True), strict=True)}


def effects_of(ablated: np.ndarray, records: Records) -> np.ndarray:
    """The effects alone (variant, readout), untested."""
    plain = over((ablated - records.intact[:, None]).sum(axis=0), np.broadcast_to(records.bottom.sum(axis=0), ablated.shape[1:]))
    version = np.eye(2)[:, :, None] * np.ones(len(records.chosen))
    merits = [np.diff(records.merit(name, variant)(version))[0] for variant in np.moveaxis(ablated, 1, 0) for name in records.merits]
    return np.concatenate([plain, np.reshape(merits, (len(plain), -1))], axis=1)


def intact_of(records: Records) -> Arrays:
    """Every readout with nothing taken away, with its 95 % interval over records (of merits: percentiles)."""
    low, high = change_interval(records.intact, records.bottom)
    plain = {"intact": over(records.intact.sum(axis=0), records.bottom.sum(axis=0)), "intact_low": low, "intact_high": high}
    if not records.merits:
        return plain
    merits = [records.merit(name, records.intact) for name in records.merits]
    weights = np.stack([records.draws.weights, np.zeros_like(records.draws.weights)], axis=1)
    everyone = np.ones((1, *weights.shape[1:]))
    has_interval = min(map(len, records.draws.strata)) > 1
    drawn = [np.quantile(merit(weights), (0.025, 0.975)) if has_interval else (np.nan, np.nan) for merit in merits]
    values = np.array([[merit(everyone)[0], *tails] for merit, tails in zip(merits, drawn, strict=True)])
    return {name: np.append(of_ratios, values[:, place]) for place, (name, of_ratios) in enumerate(plain.items())}


def _of_labels(kind: str, probability: np.ndarray, positive: np.ndarray, threshold: float) -> paired.Merit:
    """A figure of a detector of records, from the mean probability of each, by version."""
    called, true = probability >= threshold, np.broadcast_to(positive, probability.shape)
    hit = (called & true).astype(float)
    ratios = {
        "sensitivity": (hit, true.astype(float)),
        "specificity": ((~called & ~true).astype(float), (~true).astype(float)),
        "f1": (2 * hit, called.astype(float) + true),
        "brier": ((probability - positive) ** 2, np.ones(probability.shape)),
    }
    if kind in ratios:
        return paired.ratio(*ratios[kind])
    return paired.auc(probability, positive) if kind == "auc" else paired.calibration_error(probability, positive)

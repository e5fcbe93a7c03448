"""Causal attention compiled for the CPU, with the sums that analyses ask of it, never storing an attention matrix. float32.

One head of one window at a time, queries in order, in blocks of ROWS (`kernel_rows.py`, `kernel_values.py`). The entropy of a row is
ln 2 (log2 total - sum(weight score) / total).
"""

import numpy as np

from heartlens.engine.kernel_compiler import compiled, kept_apart
from heartlens.engine.kernel_rows import APART, FOUR, LN2, LOWEST, ONE, ROWS, ZERO, nearness_of, rows_of, weigh, whole
from heartlens.engine.kernel_values import add_rows, mix


@compiled
def attention_output(query, key, value, n_time, first_query, is_causal, mixed):  # type: ignore[no-untyped-def]
    """Write what each head mixes (window, query, head, d) for the queries from `first_query` on.

    `query`, `key` and `value` are (window, head, d, time), the query in units of log2.
    """
    n_windows, n_heads = key.shape[:2]
    weight, square = rows_of(n_time), np.empty(n_time, np.float32)
    total, moment = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            nearness = nearness_of(q, k, n_time, square)
            for t in range(first_query, n_time, ROWS):
                last = min(t + ROWS, n_time)
                weigh(q, k, t, last, n_time, is_causal, False, square, nearness, weight, weight, total, moment)
                mix(weight, v, t, last, n_time, is_causal, total, m[t - first_query :])


@compiled
def attention_patterns(query, key, value, n_time, first_query, is_causal, mixed, pattern):  # type: ignore[no-untyped-def]
    """As `attention_output` for all queries; write the pattern's rows from `first_query` on."""
    n_windows, n_heads = key.shape[:2]
    weight, square = rows_of(n_time), np.empty(n_time, np.float32)
    total, moment = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            nearness = nearness_of(q, k, n_time, square)
            for first in range(0, n_time, ROWS):
                last = min(first + ROWS, n_time)
                weigh(q, k, first, last, n_time, is_causal, False, square, nearness, weight, weight, total, moment)
                mix(weight, v, first, last, n_time, is_causal, total, m[first:])
                for t in range(max(first, first_query), last):
                    n, own, factor = t + 1 if is_causal else n_time, weight[t - first], ONE / total[t - first]
                    row = pattern[w, h, t - first_query]
                    for j in range(n):
                        row[j] = own[j] * factor
                    for j in range(n, n_time):
                        row[j] = ZERO


@compiled
def attention_sums(  # type: ignore[no-untyped-def]
    query, key, value, n_time, is_causal, group, column_of, runs, n_left_out, n_first, importance, bins, coordinate, row_of, mixed,
    column, on_runs, entropy, first_share, binned, reached, row,
):  # fmt: skip
    """As `attention_output` for all queries, and the sums of `engine.protocol.Asked`, written into the last eight arrays.

    `importance` (window, head, key) multiplies the weights of keys in all sums but not in what is mixed; `runs`, `bins`, `coordinate`,
    `row_of` and `entropy` may have no window, for sums that nobody asked for.
    """
    n_windows, n_heads, n_groups = key.shape[0], key.shape[1], column_of.shape[0]
    is_weighted, has_entropy = importance.shape[0] > 0, entropy.shape[0] > 0
    n_coordinates = coordinate.shape[1] if coordinate.shape[0] > 0 else 0
    is_plain = n_left_out == 0 and not is_weighted
    by_group = np.empty((n_groups + 1, whole(n_time) + APART), np.float32)  # the last: of group -1
    extent = np.empty(n_groups + 1, np.int64)
    weight, score, square = rows_of(n_time), rows_of(n_time), np.empty(n_time, np.float32)
    totals, moments, log_importance = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32), np.empty(n_time, np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            _clear(by_group, extent)
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            nearness = nearness_of(q, k, n_time, square)
            if is_weighted:
                _write_log2(importance[w, h], n_time, log_importance)
            for first in range(0, n_time, ROWS):
                last = min(first + ROWS, n_time)
                if not weigh(q, k, first, last, n_time, is_causal, has_entropy, square, nearness, weight, score, totals, moments):
                    for r in range(last - first if is_weighted else 0):
                        _write_log2(weight[r], first + r + 1 if is_causal else n_time, score[r])
                mix(weight, v, first, last, n_time, is_causal, totals, m[first:])
                if is_plain and n_groups > 0:
                    add_rows(weight, first, last, n_time, is_causal, totals, by_group, group[w])
                for t in range(first, last):
                    n, own, g = t + 1 if is_causal else n_time, weight[t - first], group[w, t]
                    total, moment, extent[g] = totals[t - first], moments[t - first], n
                    if is_weighted:
                        total, moment = _reweighed(own, score[t - first], importance[w, h], log_importance, n)
                    factor = ONE / total if total > ZERO else ZERO
                    if has_entropy:
                        entropy[w, h, t] = max(LN2 * (np.log2(total) - moment * factor), ZERO) if total > ZERO else ZERO
                    first_share[w, h, t] = _sum_of(own, 0, min(n_first, n)) * factor
                    if row_of.shape[0] > 0 and row_of[t] >= 0:
                        kept = row[w, h, row_of[t]]
                        for j in range(n):
                            kept[j] = own[j] * factor
                    if is_plain and bins.shape[0] == 0 and n_coordinates == 0:
                        continue
                    rest = _sum_of(own, n_left_out, n) if n_left_out > 0 else total
                    factor = ONE / rest if rest > ZERO else ZERO
                    if not is_plain and g >= 0:
                        added = by_group[g]
                        for j in range(n_left_out, n):
                            added[j] += own[j] * factor
                    if bins.shape[0] > 0:
                        _add_to_bins(own, n_left_out, n, factor, bins[w, t], binned[w, h])
                    for c in range(n_coordinates):
                        reached[w, h, t, c] = _along(own, n_left_out, n, coordinate[w, c]) * factor
            _gather(by_group, extent, column_of, column[w, h])
            if runs.shape[0] > 0:
                _sum_runs(by_group, extent, runs[w], on_runs[w, h])


@compiled
def _sum_of(weight, first, n):  # type: ignore[no-untyped-def]
    """The sum of the weights of the keys `first` to `n`."""
    total = ZERO
    for j in range(first, n):
        total += weight[j]
    return total


@compiled
def _add_to_bins(weight, first, n, factor, place, total):  # type: ignore[no-untyped-def]
    """Add the weights of the keys `first` to `n` to the totals of their bins.

    Neighbouring keys often share a bin, and an addition waits for the one before it: a row is therefore walked in four places at once.
    """
    part = max(n - first, 0) // FOUR
    for j in range(first, first + part):
        for each in (j, j + part, j + 2 * part, j + 3 * part):
            if place[each] >= 0:
                total[np.uint64(place[each])] += np.float64(weight[each] * factor)
    for j in range(first + FOUR * part, n):
        if place[j] >= 0:
            total[np.uint64(place[j])] += np.float64(weight[j] * factor)


@compiled
def _along(weight, first, n, coordinate):  # type: ignore[no-untyped-def]
    """The sum of weight times coordinate over the keys `first` to `n`."""
    total = ZERO
    for j in range(first, n):
        total += weight[j] * coordinate[j]
    return total


@compiled
def _clear(by_group, extent):  # type: ignore[no-untyped-def]
    kept_apart()
    for g in range(by_group.shape[0]):
        extent[g] = 0
        own = by_group[g]
        for j in range(by_group.shape[1]):
            own[j] = ZERO


@compiled
def _gather(by_group, extent, column_of, column):  # type: ignore[no-untyped-def]
    """Add the sums of each group, which reach to a key, to those of its column."""
    kept_apart()
    for g in range(column_of.shape[0]):
        own, total = by_group[g], column[column_of[g]]
        for j in range(whole(extent[g])):
            total[j] += own[j]


@compiled
def _sum_runs(by_group, extent, runs, on_runs):  # type: ignore[no-untyped-def]
    """Write each group's sums over each run of keys, from its first to before its last, as far as the group reaches."""
    kept_apart()
    for g in range(on_runs.shape[0]):
        own = by_group[g]
        for r in range(runs.shape[0]):
            total = ZERO
            for j in range(runs[r, 0], min(runs[r, 1], extent[g])):
                total += own[j]
            on_runs[g, r] = total


@compiled
def _write_log2(values, n, logarithm):  # type: ignore[no-untyped-def]
    """Write the logarithm to base 2 of the first `n` values, LOWEST where a value is 0."""
    for j in range(n):
        logarithm[j] = np.log2(values[j]) if values[j] > ZERO else LOWEST


@compiled
def _reweighed(weight, score, importance, log_importance, n):  # type: ignore[no-untyped-def]
    """Multiply the weights, 2 to the `score`, by their keys' importance; the new total, and total of weight times its log2."""
    kept_apart()
    total, moment = ZERO, ZERO
    for j in range(n):
        new = weight[j] * importance[j]
        weight[j] = new
        total += new
        moment += new * (score[j] + log_importance[j])
    return total, moment

"""Causal attention compiled for the CPU, with the sums that analyses ask of it, never storing an attention matrix. float32.

One head of one window at a time, queries in order; keys and values lie contiguous along the tokens, so that the inner loops run over keys
in SIMD. Scores come in units of log2 (the query is multiplied by log2(e) / attn_scale before), so that the weight of a key is exp2(score),
made from a polynomial and an exponent shift, because calls to exp do not vectorise (nor does a loop for a row's maximum). Nothing is
subtracted from the scores; only a row whose total is very small or large is made anew with its largest score subtracted. The entropy of a
row is ln 2 (log2 total - sum(weight score) / total). Head widths are padded with zeros to a multiple of WIDTH, tokens with anything finite
to a multiple of BLOCK.
"""

from typing import Any

import llvmlite.ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic

WIDTH = 8  # the kernel reads a head in slices of so many numbers
BLOCK = 32  # keys are done in blocks: arrays have room for whole blocks of tokens, whatever stands in the room to spare
LEAST, MOST = np.float32(2.0**-20), np.float32(2.0**24)  # a row whose total lies beyond is made anew: float32 would lose its entropy

ONE, ZERO, LN2 = np.float32(1.0), np.float32(0.0), np.float32(np.log(2.0))
LOWEST = np.float32(-100.0)  # scores are cut off here: what is less weighs nothing, and its products would be slow denormal numbers
HIGHEST = np.float32(127.0)  # exp2 of more is no float32; such a row is made anew
C1, C2, C3 = np.float32(0.69314720557709941), np.float32(0.24022648462281193), np.float32(0.055503290351537768)
C4, C5, C6 = np.float32(0.0096183732513556858), np.float32(0.0013399848290630287), np.float32(0.00015370704815283862)

INT, FLOAT = llvmlite.ir.IntType(32), llvmlite.ir.FloatType()

compiled = njit(error_model="numpy", fastmath=True, nogil=True, cache=True)
inlined = njit(error_model="numpy", fastmath=True, nogil=True, inline="always")


@intrinsic  # type: ignore[untyped-decorator]
def _kept_apart(typing_context: Any) -> Any:
    """Keep LLVM from inlining the function that calls this: together in one large function, the loops ran half as fast."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@inlined
def whole(n):  # type: ignore[no-untyped-def]
    """The next multiple of BLOCK: loops over whole blocks leave no remainder to be done number by number."""
    return (n + BLOCK - 1) & -BLOCK


@intrinsic  # type: ignore[untyped-decorator]
def _nearest(typing_context: Any, x: Any) -> Any:
    """The whole number nearest to `x`, as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [FLOAT]), arguments)

    return types.float32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _times_power_of_2(typing_context: Any, x: Any, exponent: Any) -> Any:
    """`x`, between 1/2 and 2, times 2 to a whole number: the number is added to the exponent's bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, exponent = arguments
        shifted = builder.shl(builder.fptosi(exponent, INT), llvmlite.ir.Constant(INT, 23))
        return builder.bitcast(builder.add(builder.bitcast(x, INT), shifted), FLOAT)

    return types.float32(types.float32, types.float32), generate


@inlined
def _exp2(x):  # type: ignore[no-untyped-def]
    """2 to the x, cut off at LOWEST and HIGHEST, to the rounding of float32; the polynomial is fitted to 2e-9 on -1/2..1/2."""
    x = min(max(x, LOWEST), HIGHEST)
    whole_part = _nearest(x)
    part = x - whole_part
    power = ((((((C6 * part + C5) * part + C4) * part + C3) * part + C2) * part + C1) * part) + ONE
    return _times_power_of_2(power, whole_part)


@compiled
def _weighed_at_once(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `_weighed` for a head of WIDTH whose scores need no offset: scores are used where they are made."""
    _kept_apart()
    total, moment = ZERO, ZERO
    q0, q1, q2, q3, q4, q5, q6, q7 = query[0, t], query[1, t], query[2, t], query[3, t], query[4, t], query[5, t], query[6, t], query[7, t]
    for j in range(whole(n)):
        low = (q0 * key[0, j] + q1 * key[1, j]) + (q2 * key[2, j] + q3 * key[3, j])
        score = max(low + ((q4 * key[4, j] + q5 * key[5, j]) + (q6 * key[6, j] + q7 * key[7, j])), LOWEST)
        power = _exp2(score) if j < n else ZERO
        weight[j] = power
        total += power
        moment += power * score
    return total, moment


@compiled
def _totalled_at_once(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `_weighed_at_once`, but only the total: where no entropy is asked for, a pass takes less."""
    _kept_apart()
    total = ZERO
    q0, q1, q2, q3, q4, q5, q6, q7 = query[0, t], query[1, t], query[2, t], query[3, t], query[4, t], query[5, t], query[6, t], query[7, t]
    for j in range(whole(n)):
        low = (q0 * key[0, j] + q1 * key[1, j]) + (q2 * key[2, j] + q3 * key[3, j])
        score = low + ((q4 * key[4, j] + q5 * key[5, j]) + (q6 * key[6, j] + q7 * key[7, j]))
        power = _exp2(score) if j < n else ZERO
        weight[j] = power
        total += power
    return total


@compiled
def _weighed_in_passes(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `_weighed`, for a head of any width and scores of any size: where float32 needs it, the largest score is subtracted."""
    _kept_apart()
    _scored(query, key, t, n, weight)
    total, moment = _powered(weight, n, ZERO)
    if total < LEAST or total > MOST:
        _scored(query, key, t, n, weight)
        largest = weight[0]
        for j in range(n):
            largest = max(largest, weight[j])
        total, moment = _powered(weight, n, largest)
    return total, moment


@compiled
def _scored(query, key, t, n, score):  # type: ignore[no-untyped-def]
    """Write the scores of query `t` against the first `n` keys."""
    for j in range(whole(n)):
        score[j] = ZERO
    for d in range(0, key.shape[0], WIDTH):
        q0, q1, q2, q3 = query[d, t], query[d + 1, t], query[d + 2, t], query[d + 3, t]
        q4, q5, q6, q7 = query[d + 4, t], query[d + 5, t], query[d + 6, t], query[d + 7, t]
        for j in range(whole(n)):
            low = (q0 * key[d, j] + q1 * key[d + 1, j]) + (q2 * key[d + 2, j] + q3 * key[d + 3, j])
            score[j] += low + ((q4 * key[d + 4, j] + q5 * key[d + 5, j]) + (q6 * key[d + 6, j] + q7 * key[d + 7, j]))


@compiled
def _powered(weight, n, offset):  # type: ignore[no-untyped-def]
    """Write exp2(score - offset) over the first `n` scores, 0 after them; their total, and the total of weight times (score - offset)."""
    total, moment = ZERO, ZERO
    for j in range(whole(n)):
        score = max(weight[j] - offset, LOWEST)
        power = _exp2(score) if j < n else ZERO
        weight[j] = power
        total += power
        moment += power * score
    return total, moment


@inlined
def _weighed(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """Write exp2(score) of query `t` for the first `n` keys, up to a factor; their total, and the total of weight times log2(weight).

    The second attempt is called from here, not from the first: a call within the fast function makes every row save its registers.
    """
    total, moment = _weighed_at_once(query, key, t, n, weight) if key.shape[0] == WIDTH else (ZERO, ZERO)
    if total < LEAST or total > MOST:
        total, moment = _weighed_in_passes(query, key, t, n, weight)
    return total, moment


@inlined
def _totalled(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `_weighed`, but only the total."""
    total = _totalled_at_once(query, key, t, n, weight) if key.shape[0] == WIDTH else ZERO
    if total < LEAST or total > MOST:
        total, _ = _weighed_in_passes(query, key, t, n, weight)
    return total


@compiled
def _mixed(weight, value, n, factor, mixed, t):  # type: ignore[no-untyped-def]
    """Write into row `t` the sum of the first `n` values, each times its weight and the factor."""
    _kept_apart()
    for d in range(0, value.shape[0], WIDTH):
        m0, m1, m2, m3, m4, m5, m6, m7 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for j in range(whole(n)):
            w = weight[j]
            m0 += w * value[d, j]
            m1 += w * value[d + 1, j]
            m2 += w * value[d + 2, j]
            m3 += w * value[d + 3, j]
            m4 += w * value[d + 4, j]
            m5 += w * value[d + 5, j]
            m6 += w * value[d + 6, j]
            m7 += w * value[d + 7, j]
        mixed[t, d], mixed[t, d + 1], mixed[t, d + 2], mixed[t, d + 3] = m0 * factor, m1 * factor, m2 * factor, m3 * factor
        mixed[t, d + 4], mixed[t, d + 5], mixed[t, d + 6], mixed[t, d + 7] = m4 * factor, m5 * factor, m6 * factor, m7 * factor


@compiled
def _mixed_and_added(weight, value, n, factor, mixed, t, column, g):  # type: ignore[no-untyped-def]
    """As `_mixed` for a head of WIDTH, and add weight times factor to the column sums of group `g` in the same pass."""
    _kept_apart()
    m0, m1, m2, m3, m4, m5, m6, m7 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for j in range(whole(n)):
        w = weight[j] * factor
        column[g, j] += w
        m0 += w * value[0, j]
        m1 += w * value[1, j]
        m2 += w * value[2, j]
        m3 += w * value[3, j]
        m4 += w * value[4, j]
        m5 += w * value[5, j]
        m6 += w * value[6, j]
        m7 += w * value[7, j]
    mixed[t, 0], mixed[t, 1], mixed[t, 2], mixed[t, 3] = m0, m1, m2, m3
    mixed[t, 4], mixed[t, 5], mixed[t, 6], mixed[t, 7] = m4, m5, m6, m7


@compiled
def attention_output(query, key, value, n_time, first_query, is_causal, mixed):  # type: ignore[no-untyped-def]
    """Write what each head mixes (window, query, head, d) for the queries from `first_query` on.

    `query`, `key` and `value` are (window, head, d, time), the query in units of log2.
    """
    n_windows, n_heads = key.shape[:2]
    weight = np.empty(whole(n_time), np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            for t in range(first_query, n_time):
                n = t + 1 if is_causal else n_time
                total = _totalled(q, k, t, n, weight)
                _mixed(weight, v, n, ONE / total, m, t - first_query)


@compiled
def attention_patterns(query, key, value, n_time, first_query, is_causal, mixed, pattern, entropy):  # type: ignore[no-untyped-def]
    """As `attention_output` for all queries; write the pattern's rows from `first_query` on, and every row's entropy (nats)."""
    n_windows, n_heads = key.shape[:2]
    weight = np.empty(whole(n_time), np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            for t in range(n_time):
                n = t + 1 if is_causal else n_time
                total, moment = _weighed(q, k, t, n, weight)
                factor = ONE / total
                entropy[w, h, t] = max(LN2 * (np.log2(total) - moment * factor), ZERO)
                _mixed(weight, v, n, factor, m, t)
                if t >= first_query:
                    row = pattern[w, h, t - first_query]
                    for j in range(n):
                        row[j] = weight[j] * factor
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
    n_windows, n_heads, width = key.shape[:3]
    is_weighted, has_entropy = importance.shape[0] > 0, entropy.shape[0] > 0
    n_coordinates = coordinate.shape[1] if coordinate.shape[0] > 0 else 0
    by_group, extent = np.empty((column_of.shape[0], whole(n_time)), np.float32), np.empty(column_of.shape[0], np.int64)
    weight = np.empty(whole(n_time), np.float32)
    for w in range(n_windows):
        for h in range(n_heads):
            _clear(by_group, extent)
            q, k, v, m = query[w, h], key[w, h], value[w, h], mixed[w, :, h]
            for t in range(n_time):
                n = t + 1 if is_causal else n_time
                total, moment = _weighed(q, k, t, n, weight) if has_entropy else (_totalled(q, k, t, n, weight), ZERO)
                g = group[w, t]
                if g >= 0:
                    extent[g] = n
                is_plain = width == WIDTH and n_left_out == 0 and g >= 0 and not is_weighted
                if is_plain:
                    _mixed_and_added(weight, v, n, ONE / total, m, t, by_group, g)
                else:
                    _mixed(weight, v, n, ONE / total, m, t)
                if is_weighted:
                    total, moment = _reweighed(weight, importance[w, h], n, total, moment)
                factor = ONE / total if total > ZERO else ZERO
                if has_entropy:
                    entropy[w, h, t] = max(LN2 * (np.log2(total) - moment * factor), ZERO) if total > ZERO else ZERO
                first = ZERO
                for j in range(min(n_first, n)):
                    first += weight[j]
                first_share[w, h, t] = first * factor
                if row_of.shape[0] > 0 and row_of[t] >= 0:
                    kept = row[w, h, row_of[t]]
                    for j in range(n):
                        kept[j] = weight[j] * factor
                if is_plain and bins.shape[0] == 0 and n_coordinates == 0:
                    continue
                rest = total
                if n_left_out > 0:
                    rest = ZERO
                    for j in range(n_left_out, n):
                        rest += weight[j]
                factor = ONE / rest if rest > ZERO else ZERO
                if g >= 0 and not is_plain:
                    own = by_group[g]
                    for j in range(n_left_out, n):
                        own[j] += weight[j] * factor
                if bins.shape[0] > 0:
                    _add_to_bins(weight, n_left_out, n, factor, bins[w, t], binned[w, h])
                for c in range(n_coordinates):
                    reached[w, h, t, c] = _along(weight, n_left_out, n, coordinate[w, c]) * factor
            _gather(by_group, extent, column_of, column[w, h])
            if runs.shape[0] > 0:
                _sum_runs(by_group, extent, runs[w], on_runs[w, h])


@compiled
def _add_to_bins(weight, first, n, factor, place, total):  # type: ignore[no-untyped-def]
    """Add the weights of the keys `first` to `n` to the totals of their bins."""
    for j in range(first, n):
        if place[j] >= 0:
            total[place[j]] += np.float64(weight[j] * factor)


@compiled
def _along(weight, first, n, coordinate):  # type: ignore[no-untyped-def]
    """The sum of weight times coordinate over the keys `first` to `n`."""
    total = ZERO
    for j in range(first, n):
        total += weight[j] * coordinate[j]
    return total


@compiled
def _clear(by_group, extent):  # type: ignore[no-untyped-def]
    _kept_apart()
    for g in range(by_group.shape[0]):
        extent[g] = 0
        own = by_group[g]
        for j in range(by_group.shape[1]):
            own[j] = ZERO


@compiled
def _gather(by_group, extent, column_of, column):  # type: ignore[no-untyped-def]
    """Add the sums of each group, which reach to a key, to those of its column."""
    _kept_apart()
    for g in range(by_group.shape[0]):
        own, total = by_group[g], column[column_of[g]]
        for j in range(whole(extent[g])):
            total[j] += own[j]


@compiled
def _sum_runs(by_group, extent, runs, on_runs):  # type: ignore[no-untyped-def]
    """Write each group's sums over each run of keys, from its first to before its last, as far as the group reaches."""
    _kept_apart()
    for g in range(by_group.shape[0]):
        own = by_group[g]
        for r in range(runs.shape[0]):
            total = ZERO
            for j in range(runs[r, 0], min(runs[r, 1], extent[g])):
                total += own[j]
            on_runs[g, r] = total


@compiled
def _reweighed(weight, importance, n, total, moment):  # type: ignore[no-untyped-def]
    """Multiply the weights by their keys' importance; the new total, and total of weight times log2 of the new weight.

    The weights' own logarithms come from their values: these rows are few, and the logarithm need not be fast.
    """
    _kept_apart()
    new_total, new_moment = ZERO, ZERO
    for j in range(n):
        new = weight[j] * importance[j]
        weight[j] = new
        new_total += new
        if new > ZERO:
            new_moment += new * np.log2(new)
    return new_total, new_moment

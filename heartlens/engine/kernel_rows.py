"""What the kernels do with a block of rows of attention: weights from scores, and values mixed by weights. float32, compiled for the CPU.

Keys and values lie contiguous along the tokens, so that the inner loops run over keys in SIMD. Scores come in units of log2 (the query is
multiplied by log2(e) / attn_scale before), so that the weight of a key is exp2(score), made from a polynomial and an exponent shift,
because calls to exp do not vectorise (nor does a loop for a row's maximum). Nothing is subtracted from the scores; only a row whose total
is very small or large is made anew with its largest score subtracted. Head widths are padded with zeros to a multiple of WIDTH, tokens with
anything finite to a multiple of BLOCK.
"""

from typing import Any

import llvmlite.ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic

WIDTH = 8  # the kernel reads a head in slices of so many numbers
ROWS = 8  # queries are done in blocks: a call for each would take a tenth of the time
BLOCK = 32  # keys are done in blocks: arrays have room for whole blocks of tokens, whatever stands in the room to spare
LEAST, MOST = np.float32(2.0**-20), np.float32(2.0**24)  # a row whose total lies beyond is made anew: float32 would lose its entropy

ONE, ZERO, LN2 = np.float32(1.0), np.float32(0.0), np.float32(np.log(2.0))
LOWEST = np.float32(-100.0)  # scores are cut off here: what is less weighs nothing, and its products would be slow denormal numbers
NEAR = np.float32(99.0)  # scores that cannot be larger than this, of either sign, need no limits
HIGHEST = np.float32(127.0)  # exp2 of more is no float32; such a row is made anew
C1, C2, C3 = np.float32(0.69314720557709941), np.float32(0.24022648462281193), np.float32(0.055503290351537768)
C4, C5, C6 = np.float32(0.0096183732513556858), np.float32(0.0013399848290630287), np.float32(0.00015370704815283862)

INT, FLOAT = llvmlite.ir.IntType(32), llvmlite.ir.FloatType()

compiled = njit(error_model="numpy", fastmath=True, nogil=True, cache=True)
inlined = njit(error_model="numpy", fastmath=True, nogil=True, inline="always")


@intrinsic  # type: ignore[untyped-decorator]
def kept_apart(typing_context: Any) -> Any:
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


@inlined
def _unlimited_exp2(x):  # type: ignore[no-untyped-def]
    """As `_exp2` for scores that are known to lie between LOWEST and HIGHEST."""
    whole_part = _nearest(x)
    part = x - whole_part
    power = ((((((C6 * part + C5) * part + C4) * part + C3) * part + C2) * part + C1) * part) + ONE
    return _times_power_of_2(power, whole_part)


@compiled
def _weighed_rows(query, key, first, last, n_time, is_causal, weight, total, moment):  # type: ignore[no-untyped-def]
    """As `weigh` for a head of WIDTH whose scores are known to be near: they are used where they are made. Whether all totals are good."""
    kept_apart()
    are_good = True
    for t in range(first, last):
        n, own, total_of_row, moment_of_row = t + 1 if is_causal else n_time, weight[t - first], ZERO, ZERO
        q0, q1, q2, q3 = query[0, t], query[1, t], query[2, t], query[3, t]
        q4, q5, q6, q7 = query[4, t], query[5, t], query[6, t], query[7, t]
        for j in range(whole(n)):
            low = (q0 * key[0, j] + q1 * key[1, j]) + (q2 * key[2, j] + q3 * key[3, j])
            score = low + ((q4 * key[4, j] + q5 * key[5, j]) + (q6 * key[6, j] + q7 * key[7, j]))
            power = _unlimited_exp2(score) if j < n else ZERO
            own[j] = power
            total_of_row += power
            moment_of_row += power * score
        total[t - first], moment[t - first] = total_of_row, moment_of_row
        if total_of_row < LEAST or total_of_row > MOST:
            are_good = False
    return are_good


@compiled
def _totalled_rows(query, key, first, last, n_time, is_causal, weight, total):  # type: ignore[no-untyped-def]
    """As `_weighed_rows`, but only the totals: where no entropy is asked for, a pass takes less."""
    kept_apart()
    are_good = True
    for t in range(first, last):
        n, own, total_of_row = t + 1 if is_causal else n_time, weight[t - first], ZERO
        q0, q1, q2, q3 = query[0, t], query[1, t], query[2, t], query[3, t]
        q4, q5, q6, q7 = query[4, t], query[5, t], query[6, t], query[7, t]
        for j in range(whole(n)):
            low = (q0 * key[0, j] + q1 * key[1, j]) + (q2 * key[2, j] + q3 * key[3, j])
            score = low + ((q4 * key[4, j] + q5 * key[5, j]) + (q6 * key[6, j] + q7 * key[7, j]))
            power = _unlimited_exp2(score) if j < n else ZERO
            own[j] = power
            total_of_row += power
        total[t - first] = total_of_row
        if total_of_row < LEAST or total_of_row > MOST:
            are_good = False
    return are_good


@compiled
def _weighed_at_once(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `weigh` for one row of a head of WIDTH, its scores cut off where float32 ends."""
    kept_apart()
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
def _weighed_in_passes(query, key, t, n, weight):  # type: ignore[no-untyped-def]
    """As `weigh` for one row of a head of any width: where float32 needs it, the largest score is subtracted."""
    kept_apart()
    scored(query, key, t, n, weight)
    total, moment = powered(weight, n, ZERO)
    if total < LEAST or total > MOST:
        scored(query, key, t, n, weight)
        largest = weight[0]
        for j in range(n):
            largest = max(largest, weight[j])
        total, moment = powered(weight, n, largest)
    return total, moment


@compiled
def scored(query, key, t, n, score):  # type: ignore[no-untyped-def]
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
def powered(weight, n, offset):  # type: ignore[no-untyped-def]
    """Write exp2(score - offset) over the first `n` scores, 0 after them; their total, and the total of weight times (score - offset)."""
    total, moment = ZERO, ZERO
    for j in range(whole(n)):
        score = max(weight[j] - offset, LOWEST)
        power = _exp2(score) if j < n else ZERO
        weight[j] = power
        total += power
        moment += power * score
    return total, moment


@compiled
def _write_squares(vectors, n, square):  # type: ignore[no-untyped-def]
    """Write the squared lengths of the first `n` vectors (d, time)."""
    kept_apart()
    for j in range(n):
        square[j] = ZERO
    for d in range(vectors.shape[0]):
        for j in range(n):
            square[j] += vectors[d, j] * vectors[d, j]


@inlined
def nearness_of(query, key, n, square):  # type: ignore[no-untyped-def]
    """Write the squared length of each query; that of one whose score with the longest key is NEAR, by Cauchy and Schwarz."""
    _write_squares(key, n, square)
    longest = LEAST
    for j in range(n):
        longest = max(longest, square[j])
    _write_squares(query, n, square)
    return NEAR * NEAR / longest


@compiled
def _weighed_one_by_one(query, key, first, last, n_time, is_causal, weight, total, moment):  # type: ignore[no-untyped-def]
    """As `weigh` for any head and scores: what float32 cannot hold is made again. Called from outside the fast functions, which a call
    would make save their registers at every row.
    """
    kept_apart()
    for r in range(last - first):
        n = first + r + 1 if is_causal else n_time
        total[r], moment[r] = _weighed_at_once(query, key, first + r, n, weight[r]) if key.shape[0] == WIDTH else (ZERO, ZERO)
        if total[r] < LEAST or total[r] > MOST:
            total[r], moment[r] = _weighed_in_passes(query, key, first + r, n, weight[r])


@inlined
def weigh(query, key, first, last, n_time, is_causal, has_moment, square, nearness, weight, total, moment):  # type: ignore[no-untyped-def]
    """Write exp2(score) of the queries from `first` to before `last`, up to a factor; their totals, and those of weight times log2(weight).

    Scores are near where the queries' squared lengths are below `nearness`.
    """
    are_good = key.shape[0] == WIDTH
    for t in range(first, last):
        are_good = are_good and square[t] < nearness
    if are_good and has_moment:
        are_good = _weighed_rows(query, key, first, last, n_time, is_causal, weight, total, moment)
    elif are_good:
        are_good = _totalled_rows(query, key, first, last, n_time, is_causal, weight, total)
    if not are_good:
        _weighed_one_by_one(query, key, first, last, n_time, is_causal, weight, total, moment)


@compiled
def mixed_row(weight, value, n, factor, mixed):  # type: ignore[no-untyped-def]
    """Write the sum of the first `n` values, each times its weight and the factor."""
    kept_apart()
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
        mixed[d], mixed[d + 1], mixed[d + 2], mixed[d + 3] = m0 * factor, m1 * factor, m2 * factor, m3 * factor
        mixed[d + 4], mixed[d + 5], mixed[d + 6], mixed[d + 7] = m4 * factor, m5 * factor, m6 * factor, m7 * factor


@compiled
def _mixed_rows(weight, value, first, last, n_time, is_causal, total, mixed):  # type: ignore[no-untyped-def]
    """As `mix` for a head of WIDTH."""
    kept_apart()
    for t in range(first, last):
        n, own, factor = t + 1 if is_causal else n_time, weight[t - first], ONE / total[t - first]
        m0, m1, m2, m3, m4, m5, m6, m7 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for j in range(whole(n)):
            w = own[j]
            m0 += w * value[0, j]
            m1 += w * value[1, j]
            m2 += w * value[2, j]
            m3 += w * value[3, j]
            m4 += w * value[4, j]
            m5 += w * value[5, j]
            m6 += w * value[6, j]
            m7 += w * value[7, j]
        to = mixed[t - first]
        to[0], to[1], to[2], to[3] = m0 * factor, m1 * factor, m2 * factor, m3 * factor
        to[4], to[5], to[6], to[7] = m4 * factor, m5 * factor, m6 * factor, m7 * factor


@inlined
def mix(weight, value, first, last, n_time, is_causal, total, mixed):  # type: ignore[no-untyped-def]
    """Write into the rows of `mixed` the values, each times its weight over the row's total, summed."""
    if value.shape[0] == WIDTH:
        _mixed_rows(weight, value, first, last, n_time, is_causal, total, mixed)
    else:
        for r in range(last - first):
            mixed_row(weight[r], value, first + r + 1 if is_causal else n_time, ONE / total[r], mixed[r])


@compiled
def mix_and_add(weight, value, first, last, n_time, is_causal, total, mixed, column, group):  # type: ignore[no-untyped-def]
    """As `mix` for a head of WIDTH; the weights over the row's total are also added to the column sums of the row's group."""
    kept_apart()
    for t in range(first, last):
        n, own, factor = t + 1 if is_causal else n_time, weight[t - first], ONE / total[t - first]
        added = column[group[t]]
        m0, m1, m2, m3, m4, m5, m6, m7 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for j in range(whole(n)):
            w = own[j] * factor
            added[j] += w
            m0 += w * value[0, j]
            m1 += w * value[1, j]
            m2 += w * value[2, j]
            m3 += w * value[3, j]
            m4 += w * value[4, j]
            m5 += w * value[5, j]
            m6 += w * value[6, j]
            m7 += w * value[7, j]
        to = mixed[t - first]
        to[0], to[1], to[2], to[3], to[4], to[5], to[6], to[7] = m0, m1, m2, m3, m4, m5, m6, m7

"""How attention kernels make the weights of a block of rows from scores. float32, compiled for the CPU.

Keys and values lie contiguous along the tokens, so that the inner loops run over keys in SIMD. Scores come in units of log2 (the query is
multiplied by log2(e) / attn_scale before), so that the weight of a key is exp2(score), made from a polynomial and an exponent shift,
because calls to exp do not vectorise. From scores that cannot be large nothing is subtracted; from others, and where a total is very small
or large, each row's largest score. Head widths are padded with zeros to a multiple of WIDTH, tokens with anything finite to a multiple of
BLOCK.
"""

from typing import Any

import llvmlite.ir
import numpy as np
from numba import types
from numba.extending import intrinsic

from heartlens.engine.kernel_compiler import compiled, inlined, kept_apart

WIDTH = 8  # the kernel reads a head in slices of so many numbers
ROWS = 8  # queries are done in blocks: a call for each would take a tenth of the time
FOUR = 4  # so many rows share what they read of keys and values; ROWS is a multiple
APART = 16  # numbers between rows of weights: rows 2 KiB apart would make the processor take a store for the next load's (4K aliasing)
BLOCK = 32  # keys are done in blocks: arrays have room for whole blocks of tokens, whatever stands in the room to spare
LEAST, MOST = np.float32(2.0**-20), np.float32(2.0**24)  # a row whose total lies beyond is made anew: float32 would lose its entropy

ONE, ZERO, LN2 = np.float32(1.0), np.float32(0.0), np.float32(np.log(2.0))
LOWEST = np.float32(-100.0)  # scores are cut off here: what is less weighs nothing, and its products would be slow denormal numbers
NEAR = np.float32(99.0)  # scores that cannot be larger than this, of either sign, need no limits
NONE = np.float32(-3e38)  # a score below all others
C1, C2, C3 = np.float32(0.69314720557709941), np.float32(0.24022648462281193), np.float32(0.055503290351537768)
C4, C5, C6 = np.float32(0.0096183732513556858), np.float32(0.0013399848290630287), np.float32(0.00015370704815283862)

INT, FLOAT = llvmlite.ir.IntType(32), llvmlite.ir.FloatType()


@inlined
def whole(n):  # type: ignore[no-untyped-def]
    """The next multiple of BLOCK: loops over whole blocks leave no remainder to be done number by number."""
    return (n + BLOCK - 1) & -BLOCK


@inlined
def eights(n):  # type: ignore[no-untyped-def]
    """The next multiple of 8, the numbers that one instruction computes."""
    return (n + 7) & -8


@inlined
def rows_of(n_time):  # type: ignore[no-untyped-def]
    """Memory for a number of each key, in ROWS rows."""
    return np.empty((ROWS, whole(n_time) + APART), np.float32)


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


@intrinsic  # type: ignore[untyped-decorator]
def larger(typing_context: Any, x: Any, y: Any) -> Any:
    """The larger of two float32, neither of them NaN; a loop of it becomes SIMD, which one of `max` does not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = arguments
        return builder.select(builder.fcmp_ordered(">", x, y, flags=("fast",)), x, y, flags=("fast",))

    return types.float32(types.float32, types.float32), generate


@inlined
def _exp2(x):  # type: ignore[no-untyped-def]
    """2 to the x, which lies between LOWEST and -LOWEST, to the rounding of float32; the polynomial is fitted to 2e-9 on -1/2..1/2."""
    whole_part = _nearest(x)
    part = x - whole_part
    power = ((((((C6 * part + C5) * part + C4) * part + C3) * part + C2) * part + C1) * part) + ONE
    return _times_power_of_2(power, whole_part)


@compiled
def _total(first, last, n_time, is_causal, weight, total):  # type: ignore[no-untyped-def]
    """Set the weights after each row's last key to 0 and write the rows' totals. Whether float32 holds all of them well."""
    kept_apart()
    are_good = True
    for r in range(last - first):
        n, own, total_of_row = first + r + 1 if is_causal else n_time, weight[r], ZERO
        for j in range(n, whole(n)):
            own[j] = ZERO
        for j in range(whole(n)):
            total_of_row += own[j]
        total[r] = total_of_row
        if total_of_row < LEAST or total_of_row > MOST:
            are_good = False
    return are_good


@compiled
def _moments(first, last, n_time, is_causal, weight, score, moment):  # type: ignore[no-untyped-def]
    """Write each row's total of weight times score."""
    kept_apart()
    for r in range(last - first):
        own, own_score, moment_of_row = weight[r], score[r], ZERO
        for j in range(whole(first + r + 1 if is_causal else n_time)):
            moment_of_row += own[j] * own_score[j]
        moment[r] = moment_of_row


@compiled
def _power(query, key, first, last, n_time, is_causal, weight):  # type: ignore[no-untyped-def]
    """Write exp2(score) of the queries from `first` to before `last`, FOUR at a time: each key is read once for all of them."""
    kept_apart()
    for t in range(first, last, FOUR):
        q0, q1, q2, q3 = _vector(query, t), _vector(query, t + 1), _vector(query, t + 2), _vector(query, t + 3)
        w0, w1, w2, w3 = weight[t - first], weight[t - first + 1], weight[t - first + 2], weight[t - first + 3]
        for j in range(eights(t + FOUR if is_causal else n_time)):
            k = _vector(key, j)
            a, b, c, d = _score(q0, k), _score(q1, k), _score(q2, k), _score(q3, k)
            w0[j], w1[j], w2[j], w3[j] = _exp2(a), _exp2(b), _exp2(c), _exp2(d)


@compiled
def _power_and_score(query, key, first, last, n_time, is_causal, weight, score):  # type: ignore[no-untyped-def]
    """As `_power`, and write the scores: where nobody needs them they would crowd the cache that two threads of a core share."""
    kept_apart()
    for t in range(first, last, FOUR):
        q0, q1, q2, q3 = _vector(query, t), _vector(query, t + 1), _vector(query, t + 2), _vector(query, t + 3)
        w0, w1, w2, w3 = weight[t - first], weight[t - first + 1], weight[t - first + 2], weight[t - first + 3]
        s0, s1, s2, s3 = score[t - first], score[t - first + 1], score[t - first + 2], score[t - first + 3]
        for j in range(whole(t + FOUR if is_causal else n_time)):
            k = _vector(key, j)
            a, b, c, d = _score(q0, k), _score(q1, k), _score(q2, k), _score(q3, k)
            s0[j], s1[j], s2[j], s3[j] = a, b, c, d
            w0[j], w1[j], w2[j], w3[j] = _exp2(a), _exp2(b), _exp2(c), _exp2(d)


@inlined
def _vector(vectors, t):  # type: ignore[no-untyped-def]
    return (
        *(vectors[0, t], vectors[1, t], vectors[2, t], vectors[3, t]),
        *(vectors[4, t], vectors[5, t], vectors[6, t], vectors[7, t]),
    )


@inlined
def _score(q, k):  # type: ignore[no-untyped-def]
    low = (q[0] * k[0] + q[1] * k[1]) + (q[2] * k[2] + q[3] * k[3])
    return low + ((q[4] * k[4] + q[5] * k[5]) + (q[6] * k[6] + q[7] * k[7]))


@compiled
def scored(query, key, t, n, score):  # type: ignore[no-untyped-def]
    """Write the scores of query `t` against the first `n` keys; the largest of them."""
    kept_apart()
    for d in range(0, key.shape[0], WIDTH):
        q, k = _vector(query[d:], t), key[d:]
        for j in range(whole(n)):
            score[j] = _score(q, _vector(k, j)) + (score[j] if d > 0 else ZERO)
    largest = score[0]
    for j in range(n, whole(n)):
        score[j] = largest
    for j in range(whole(n)):
        largest = larger(largest, score[j])
    return largest


@compiled
def powered(weight, n, largest):  # type: ignore[no-untyped-def]
    """Write exp2(score - largest) over the first `n` scores, 0 after them; their total, and the total of weight times (score - largest)."""
    kept_apart()
    total, moment = ZERO, ZERO
    for j in range(n, whole(n)):
        weight[j] = NONE
    for j in range(whole(n)):
        score = larger(weight[j] - largest, LOWEST)
        power = _exp2(score)
        weight[j] = power
        total += power
        moment += power * score
    for j in range(n, whole(n)):
        weight[j] = ZERO
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
    """As `weigh` for any head and scores: each row's largest score is subtracted. Called from outside the fast functions, which a call
    would make save their registers at every row.
    """
    kept_apart()
    for r in range(last - first):
        n = first + r + 1 if is_causal else n_time
        total[r], moment[r] = powered(weight[r], n, scored(query, key, first + r, n, weight[r]))


@inlined
def weigh(query, key, first, last, n_time, is_causal, has_moment, square, nearness, weight, score, total, moment):  # type: ignore[no-untyped-def]
    """Write exp2(score) of the queries from `first` to before `last`, up to a factor; their totals, and those of weight times log2(weight).

    Scores are near where the queries' squared lengths are below `nearness`. True where `score` holds log2(weight), if moments are asked
    for; false where a row had to be made again.
    """
    are_good = key.shape[0] == WIDTH and (last - first) % FOUR == 0
    for t in range(first, last):
        are_good = are_good and square[t] < nearness
    if are_good:
        if has_moment:
            _power_and_score(query, key, first, last, n_time, is_causal, weight, score)
        else:
            _power(query, key, first, last, n_time, is_causal, weight)
        are_good = _total(first, last, n_time, is_causal, weight, total)
        if has_moment:
            _moments(first, last, n_time, is_causal, weight, score, moment)
    if not are_good:
        _weighed_one_by_one(query, key, first, last, n_time, is_causal, weight, total, moment)
    return are_good

"""What attention kernels do with the weights of a block of rows: values mixed by them, and weights added up by group of asking tokens.

Weights, totals and padding are those of `kernel_rows.py`.
"""

from heartlens.engine.kernel_compiler import compiled, inlined, kept_apart
from heartlens.engine.kernel_rows import FOUR, ONE, WIDTH, ZERO, eights, whole


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
def _mix_fours(weight, value, first, last, n_time, is_causal, total, mixed):  # type: ignore[no-untyped-def]
    """As `mix` for a head of WIDTH and a multiple of FOUR rows: each number of a value is read once for FOUR, two numbers at a time, whose
    eight sums stay in registers.
    """
    kept_apart()
    for r in range(0, last - first, FOUR):
        w0, w1, w2, w3 = weight[r], weight[r + 1], weight[r + 2], weight[r + 3]
        f0, f1, f2, f3 = ONE / total[r], ONE / total[r + 1], ONE / total[r + 2], ONE / total[r + 3]
        for d in range(0, WIDTH, 2):
            a0, a1, b0, b1, c0, c1, e0, e1 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
            for j in range(eights(first + r + FOUR if is_causal else n_time)):
                p0, p1, p2, p3 = w0[j], w1[j], w2[j], w3[j]
                v0, v1 = value[d, j], value[d + 1, j]
                a0, a1, b0, b1 = a0 + p0 * v0, a1 + p0 * v1, b0 + p1 * v0, b1 + p1 * v1
                c0, c1, e0, e1 = c0 + p2 * v0, c1 + p2 * v1, e0 + p3 * v0, e1 + p3 * v1
            mixed[r, d], mixed[r, d + 1], mixed[r + 1, d], mixed[r + 1, d + 1] = a0 * f0, a1 * f0, b0 * f1, b1 * f1
            mixed[r + 2, d], mixed[r + 2, d + 1], mixed[r + 3, d], mixed[r + 3, d + 1] = c0 * f2, c1 * f2, e0 * f3, e1 * f3


@inlined
def mix(weight, value, first, last, n_time, is_causal, total, mixed):  # type: ignore[no-untyped-def]
    """Write into the rows of `mixed` the values, each times its weight over the row's total, summed."""
    if value.shape[0] == WIDTH and (last - first) % FOUR == 0 and first % FOUR == 0:
        _mix_fours(weight, value, first, last, n_time, is_causal, total, mixed)
    else:
        for r in range(last - first):
            mixed_row(weight[r], value, first + r + 1 if is_causal else n_time, ONE / total[r], mixed[r])


@compiled
def add_rows(weight, first, last, n_time, is_causal, total, column, group):  # type: ignore[no-untyped-def]
    """Add each row's weights over its total to the column sums of the row's group, where FOUR rows are of one group all at once."""
    kept_apart()
    t = first
    while t < last:
        r, added = t - first, column[group[t]]
        is_one = t % FOUR == 0 and t + FOUR <= last
        if is_one and group[t] == group[t + 1] and group[t] == group[t + 2] and group[t] == group[t + 3]:
            w0, w1, w2, w3 = weight[r], weight[r + 1], weight[r + 2], weight[r + 3]
            f0, f1, f2, f3 = ONE / total[r], ONE / total[r + 1], ONE / total[r + 2], ONE / total[r + 3]
            for j in range(whole(t + FOUR if is_causal else n_time)):
                added[j] += (w0[j] * f0 + w1[j] * f1) + (w2[j] * f2 + w3[j] * f3)
            t += FOUR
        else:
            own, factor = weight[r], ONE / total[r]
            for j in range(whole(t + 1 if is_causal else n_time)):
                added[j] += own[j] * factor
            t += 1

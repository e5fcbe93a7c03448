"""One more token through all blocks, compiled for the CPU: every product, norm and head of many rows in one call. float32.

A row is one continuation. Its prompt's keys and values lie once for all rows of that prompt, its own beside them; both are (head, d, time),
contiguous along the tokens, as in `kernel_rows.py`, whose score, weight and value loops are used here. Weights are packed anew for every
generation: (input, output), padded with zeros to a multiple of BLOCK, so that the inner loops run over outputs in SIMD.
"""

from typing import NamedTuple

import numpy as np

from heartlens.engine.kernel_compiler import compiled, kept_apart
from heartlens.engine.kernel_rows import ONE, ZERO, larger, powered, scored, whole
from heartlens.engine.kernel_values import mixed_row

NOTHING, HEAD, MLP, LAYER = 0, 1, 2, 3  # what of a block is replaced
UNROLLED = 8  # inputs that one pass over the outputs takes


class Packed(NamedTuple):
    """A model's weights, as they were when they were packed. The first axis of most is the layer; the last is padded."""

    token: np.ndarray  # (token, d_model)
    position: np.ndarray  # (time, d_model)
    norm_1: np.ndarray  # (layer, 2, d_model): weight and bias
    read: np.ndarray  # (layer, d_model, query | key | value of all heads), the query in units of log2
    read_bias: np.ndarray
    write: np.ndarray  # (layer, head x d_head, d_model)
    write_bias: np.ndarray
    norm_2: np.ndarray
    mlp_in: np.ndarray
    mlp_in_bias: np.ndarray
    mlp_out: np.ndarray
    mlp_out_bias: np.ndarray
    norm_final: np.ndarray  # (2, d_model)
    unembed: np.ndarray  # (d_model, output)
    unembed_bias: np.ndarray


class Replaced(NamedTuple):
    """What is replaced in all rows of a prompt (`part`, in `layer`, of `head`), and by what at this token."""

    part: np.ndarray  # (prompt)
    layer: np.ndarray
    head: np.ndarray
    z: np.ndarray  # (prompt, d_head)
    attention: np.ndarray  # (prompt, d_model)
    mlp: np.ndarray


@compiled
def step(packed, replaced, d_model, n_heads, eps, tokens, prompt_key, prompt_value, n_prompt, own_key, own_value, n_own, logits):  # type: ignore[no-untyped-def]
    """Write the logits (row, output) after one more token of each row, and its keys and values, the row's own `n_own`-th.

    Prompts' keys and values are (layer, prompt, head, d, time); each prompt's rows follow one another. The rows' own: (layer, row, ...).
    """
    n_rows, n_layers, width = len(tokens), len(packed.read), own_key.shape[3]
    n_of_prompt = n_rows // prompt_key.shape[1]
    n_read, n_mixed = packed.read.shape[2], packed.write.shape[1]
    x = np.empty((n_rows, packed.token.shape[1]), np.float32)
    normed, added = np.zeros(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
    read, mixed, hidden = np.empty(n_read, np.float32), np.zeros(n_mixed, np.float32), np.empty(packed.mlp_in.shape[2], np.float32)
    weight = np.empty(whole(n_prompt) + whole(n_own), np.float32)
    place = packed.position[n_prompt + n_own - 1]
    for row in range(n_rows):
        _sum(packed.token[tokens[row]], place, x[row])
    for layer in range(n_layers):
        for row in range(n_rows):
            prompt = row // n_of_prompt
            part = replaced.part[prompt] if replaced.layer[prompt] == layer else NOTHING
            _normed(x[row], packed.norm_1[layer], d_model, eps, normed)
            _product(normed, packed.read[layer], packed.read_bias[layer], read)
            _attended(
                read, n_heads, prompt_key[layer, prompt], prompt_value[layer, prompt], n_prompt,
                own_key[layer, row], own_value[layer, row], n_own, weight, mixed,
            )  # fmt: skip
            if part == HEAD:
                mixed_by_head = mixed[replaced.head[prompt] * width :]
                for d in range(replaced.z.shape[1]):
                    mixed_by_head[d] = replaced.z[prompt, d]
            if part == LAYER:
                _sum(x[row], replaced.attention[prompt], x[row])
            else:
                _product(mixed, packed.write[layer], packed.write_bias[layer], added)
                _sum(x[row], added, x[row])
            if part in (LAYER, MLP):
                _sum(x[row], replaced.mlp[prompt], x[row])
            else:
                _normed(x[row], packed.norm_2[layer], d_model, eps, normed)
                _product(normed, packed.mlp_in[layer], packed.mlp_in_bias[layer], hidden)
                _rectified(hidden)
                _product(hidden, packed.mlp_out[layer], packed.mlp_out_bias[layer], added)
                _sum(x[row], added, x[row])
    for row in range(n_rows):
        _normed(x[row], packed.norm_final, d_model, eps, normed)
        _product(normed, packed.unembed, packed.unembed_bias, logits[row])


@compiled
def _attended(read, n_heads, prompt_key, prompt_value, n_prompt, own_key, own_value, n_own, weight, mixed):  # type: ignore[no-untyped-def]
    """Keep the newest token's keys and values, and write what each of its heads mixes (head x d)."""
    width = own_key.shape[1]
    query, from_prompt, from_own = np.empty((width, 1), np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    own_weight = weight[whole(n_prompt) :]
    for h in range(n_heads):
        start, keys, values = h * width, own_key[h], own_value[h]
        for d in range(width):
            query[d, 0] = read[start + d]
            keys[d, n_own - 1] = read[n_heads * width + start + d]
            values[d, n_own - 1] = read[2 * n_heads * width + start + d]
        total = _weighed(query, prompt_key[h], n_prompt, keys, n_own, weight, own_weight)
        mixed_row(weight, prompt_value[h], n_prompt, ONE / total, from_prompt)
        mixed_row(own_weight, values, n_own, ONE / total, from_own)
        for d in range(width):
            mixed[start + d] = from_prompt[d] + from_own[d]


@compiled
def _weighed(query, prompt_key, n_prompt, own_key, n_own, weight, own_weight):  # type: ignore[no-untyped-def]
    """Write exp2(score), up to a factor, of the prompt's keys and of the row's own; their total."""
    kept_apart()
    largest = scored(query, own_key, 0, n_own, own_weight)
    if n_prompt > 0:
        largest = larger(largest, scored(query, prompt_key, 0, n_prompt, weight))
    return powered(weight, n_prompt, largest)[0] + powered(own_weight, n_own, largest)[0]


@compiled
def _product(x, weight, bias, product):  # type: ignore[no-untyped-def]
    """Write x times the weights (input, output), and the bias."""
    kept_apart()
    n_out = whole(len(bias))
    for j in range(n_out):
        product[j] = bias[j]
    for i in range(0, weight.shape[0], UNROLLED):
        x0, x1, x2, x3, x4, x5, x6, x7 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        w0, w1, w2, w3 = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        w4, w5, w6, w7 = weight[i + 4], weight[i + 5], weight[i + 6], weight[i + 7]
        for j in range(n_out):
            low = (x0 * w0[j] + x1 * w1[j]) + (x2 * w2[j] + x3 * w3[j])
            product[j] += low + ((x4 * w4[j] + x5 * w5[j]) + (x6 * w6[j] + x7 * w7[j]))


@compiled
def _normed(x, norm, d_model, eps, normed):  # type: ignore[no-untyped-def]
    """Write what a LayerNorm makes of `x`."""
    kept_apart()
    mean, variance = ZERO, ZERO
    for j in range(d_model):
        mean += x[j]
    mean /= np.float32(d_model)
    for j in range(d_model):
        variance += (x[j] - mean) * (x[j] - mean)
    factor = ONE / np.sqrt(variance / np.float32(d_model) + eps)
    weight, bias = norm[0], norm[1]
    for j in range(d_model):
        normed[j] = (x[j] - mean) * factor * weight[j] + bias[j]


@compiled
def _sum(left, right, total):  # type: ignore[no-untyped-def]
    for j in range(whole(len(total))):
        total[j] = left[j] + right[j]


@compiled
def _rectified(x):  # type: ignore[no-untyped-def]
    for j in range(whole(len(x))):
        x[j] = max(x[j], ZERO)

"""What an engine computes, by definition, in numpy and float64, without the package's code. The oracle of these tests."""

from types import SimpleNamespace

import numpy as np


class Definition:
    """A HeartGPT model read off the tensors of its HookedTransformer; the methods are named as an engine's."""

    def __init__(self, model):
        self.w = {name: tensor.detach().double().numpy() for name, tensor in model.named_parameters()}
        self.n_layers, self.n_heads = model.cfg.n_layers, model.cfg.n_heads
        self.scale, self.eps = model.cfg.attn_scale, model.cfg.eps

    def embed(self, tokens):
        return self.w["embed.W_E"][tokens] + self.w["pos_embed.W_pos"][: tokens.shape[1]]

    def read(self, x, layer, letter):
        """Queries, keys or values: (window, head, time, d_head)."""
        at = f"blocks.{layer}.attn"
        seen = self._norm(x, f"blocks.{layer}.ln1")
        return np.stack([seen @ self.w[f"{at}.W_{letter}"][h] + self.w[f"{at}.b_{letter}"][h] for h in range(self.n_heads)], axis=1)

    def pattern(self, x, layer, is_causal=True, query=None, key=None):
        """Attention: exp(score - the row's largest) over its total."""
        query = self.read(x, layer, "Q") if query is None else query
        key = self.read(x, layer, "K") if key is None else key
        score = query @ np.swapaxes(key, -1, -2) / self.scale
        score = np.where(np.tri(*score.shape[-2:], dtype=bool) | (not is_causal), score, -np.inf)
        power = np.exp(score - score.max(axis=-1, keepdims=True))
        return power / power.sum(axis=-1, keepdims=True)

    def mixed(self, x, layer, is_causal=True, **read):
        value = read.pop("value", None)
        value = self.read(x, layer, "V") if value is None else value
        return np.swapaxes(self.pattern(x, layer, is_causal, **read) @ value, 1, 2)

    def attended(self, x, layer, changed, reader, head):
        name = {"Q": "query", "K": "key", "V": "value"}[reader]
        return self.mixed(x, layer, **{name: self.read(changed, layer, reader)})[:, :, head]

    def attention_out(self, z, layer):
        return self.added(z, layer).sum(axis=0) + self.w[f"blocks.{layer}.attn.b_O"]

    def added(self, z, layer):
        return np.stack([z[:, :, head] @ self.w[f"blocks.{layer}.attn.W_O"][head] for head in range(self.n_heads)])

    def mlp_out(self, mid, layer):
        at = f"blocks.{layer}.mlp"
        hidden = np.maximum(self._norm(mid, f"blocks.{layer}.ln2") @ self.w[f"{at}.W_in"] + self.w[f"{at}.b_in"], 0)
        return hidden @ self.w[f"{at}.W_out"] + self.w[f"{at}.b_out"]

    def parts(self, x, layer):
        z = self.mixed(x, layer)
        mid = x + self.attention_out(z, layer)
        return SimpleNamespace(z=z, mid=mid, post=mid + self.mlp_out(mid, layer))

    def after(self, x, layer, *, z=None, attention=None, mlp=None, is_causal=True):
        if attention is None:
            attention = self.attention_out(self.mixed(x, layer, is_causal) if z is None else z, layer)
        mid = x + attention
        return mid + (self.mlp_out(mid, layer) if mlp is None else mlp)

    def run_blocks(self, x, start, stop=None):
        for layer in range(start, self.n_layers if stop is None else stop):
            x = self.after(x, layer)
        return x

    def last_token(self, x):
        return self.after(x, self.n_layers - 1)[:, -1:]

    def normed(self, x):
        return self._norm(x, "ln_final")

    def unembedded(self, normed):
        return normed @ self.w["unembed.W_U"] + self.w["unembed.b_U"]

    def outputs(self, x):
        return self.unembedded(self.normed(x))

    def patterns(self, tokens, last_block_unmasked=False):
        """Each layer's attention, and the norm of what each key's value moves into the stream (window, head, key)."""
        x = self.embed(tokens)
        for layer in range(self.n_layers):
            is_causal = not (last_block_unmasked and layer == self.n_layers - 1)
            moved = [self.read(x, layer, "V")[:, head] @ self.w[f"blocks.{layer}.attn.W_O"][head] for head in range(self.n_heads)]
            yield self.pattern(x, layer, is_causal), np.stack([np.sqrt((each**2).sum(axis=-1)) for each in moved], axis=1)
            x = self.after(x, layer, is_causal=is_causal)

    def _norm(self, x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.eps)
        return scaled * self.w.get(f"{name}.w", 1.0) + self.w.get(f"{name}.b", 0.0)


def entropy(weights):
    """Of rows of weights that sum to 1, in nats."""
    return -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=-1)


def sums(pattern, moved_norm, asked):
    """The sums that `asked` asks for, of one layer's attention, by name."""
    n_windows, n_heads, n_time = pattern.shape[:3]
    n_runs = 0 if asked.runs is None else asked.runs.shape[1]
    n_groups, n_columns = len(asked.column_of), max(asked.column_of.tolist(), default=-1) + 1
    n_coordinates = 0 if asked.coordinates is None else asked.coordinates.shape[1]
    lead = (n_windows, n_heads)
    weights = _to_1(pattern * moved_norm[:, :, None]) if asked.by_value else pattern
    rest = _to_1(np.where(np.arange(n_time) < asked.n_left_out, 0, weights)) if asked.n_left_out else weights
    total = {
        "columns": np.zeros((*lead, n_columns, n_time)),
        "on_runs": np.zeros((*lead, n_groups, n_runs)),
        "entropy": entropy(weights) if asked.entropy else np.full(weights.shape[:-1], np.nan),
        "first_share": weights[..., : asked.n_first].sum(axis=-1),
        "binned": np.zeros((*lead, asked.n_bins)),
        "reached": np.zeros((*lead, n_time, n_coordinates)),
        "rows": np.zeros((*lead, len(asked.rows), n_time)),
    }
    for place, row in enumerate(asked.rows):
        total["rows"][:, :, place] = weights[:, :, row]
    for w in range(n_windows):
        for t in range(n_time):
            group = asked.group[w, t]
            if group >= 0:
                total["columns"][w, :, asked.column_of[group]] += rest[w, :, t]
                for run in range(n_runs):
                    start, stop = asked.runs[w, run]
                    total["on_runs"][w, :, group, run] += rest[w, :, t, start:stop].sum(axis=-1)
        for place in range(asked.n_bins):
            total["binned"][w, :, place] = rest[w, :, asked.bins[w] == place].sum(axis=0)
        for coordinate in range(n_coordinates):
            total["reached"][w, :, :, coordinate] = (rest[w] * asked.coordinates[w, coordinate]).sum(axis=-1)
    return total


def _to_1(weights):
    total = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)

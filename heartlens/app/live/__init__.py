"""A live page: one HTML file with a recording's windows, the model and what-if controls; the forward pass runs in the browser.

The file needs no server and asks for nothing from elsewhere. Its edits (edits.js) are those of `signals.counterfactuals`, token for token;
its forward pass (model.js, kernels.js) is that of the engines, to 1e-4 of the logit; tests/app/test_live.py checks both. Where a browser
cannot run it, the page says so and shows the figure that is stored in it.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from markupsafe import Markup

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.registry import EMBEDDED
from heartlens.privacy import AS_THEY_ARE, Names
from heartlens.provenance import inventory
from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals import FLAT, MOST_BENT, baseline, complexes, dose, warp, waves
from heartlens.signals.landmarks import NONE
from heartlens.signals.simulate.rhythms import FLOOR_S
from heartlens.tasks import NOT_MEDICAL
from heartlens.windows import Windows

SCRIPTS = ("model", "kernels", "edits", "worker", "page")
MOST_WINDOWS = 24
NOISE_DB = (30, 20, 15, 10, 5, 0)  # signal over noise that the page offers
SEED = 0  # of the page's edits


def live_page(
    subject: Any,
    windows: Windows,
    *,
    unit: str = "",
    command: str = "",
    reading: str = "",
    names: Names = AS_THEY_ARE,
    simulated: bool = False,
) -> str:
    """The HTML page of a model and windows of one recording (at most MOST_WINDOWS, unlabelled ones too).

    `unit` is that of the recording, `command` what makes the page again, `reading` the Python that makes `windows`; `names` says how the
    recording is called, `simulated` that nobody was recorded, where the windows' sources do not tell. Refuses a model that answers anything
    else than one probability of a window, one that is edited or that neither the fused nor the torch engine computes, windows of another
    kind, and those of several recordings.
    """
    from heartlens.models.interventions.ablations import intact_readings, single_readings, values_of
    from heartlens.report import inline, rendered
    from heartlens.tasks.classify import logits_of

    _refuse_unfit(subject, windows)
    weights, shown = packed(subject.weights), names.windows(windows)
    logits = logits_of(subject, windows.tokens)
    intact, _ = intact_readings(subject, windows)
    off = single_readings(subject, windows, values_of(subject, "zero", None, windows), ("heads", "mlp"))
    change = {part: off[part][:, 0] - intact[:, 0].reshape(-1, *[1] * (off[part].ndim - 2)) for part in ("heads", "mlp")}
    data = {
        **_model_data(subject),
        "rules": rules(windows.kind),
        "windows": [_stored(windows, index) for index in range(len(windows))],
        "logits": logits.tolist(),
        "headChange": change["heads"].round(4).tolist(),
        "mlpChange": change["mlp"].round(4).tolist(),
        "noiseDb": NOISE_DB,
        "search": search(),
        "record": str(shown.record[0]),
        "unit": unit or "a.u.",
        "command": command,
        "reading": reading or "windows = ...  # the windows of this recording",
    }
    return rendered(
        "app/live/page.html.jinja",
        **{name: data[name] for name in ("record", "checkpoint", "question", "command")},
        is_simulated=simulated or inventory(windows).is_simulated,
        is_embedded=subject.origin.checkpoint in EMBEDDED,
        not_medical=NOT_MEDICAL,
        style=Markup(_text("page.css")),
        scripts={name: Markup(_text(f"{name}.js")) for name in SCRIPTS},
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        weights=base64.b64encode(weights.tobytes()).decode(),
        origin={
            "checkpoint": f"{subject.origin.checkpoint} (SHA-256 {subject.origin.sha256[:16]}…, {subject.origin.licence})",
            "recording": "; ".join(shown.sources) or str(shown.record[0]),
            "notes": "; ".join(shown.notes),
        },
        figure=inline(_figure(subject, windows, data["record"], logits, change["heads"])),
    )


def _model_data(subject: Any) -> dict[str, Any]:
    """What the page must know of the model besides its weights."""
    return {
        "sizes": {
            **{name: getattr(subject.sizes, of) for name, of in SIZES.items()},
            "dMlp": int(subject.weights.cfg.d_mlp),
            "nTime": CONTEXT,
            "nVocabulary": int(subject.weights.W_E.shape[0]),
        },
        "threshold": subject.card.get("threshold"),
        "checkpoint": subject.origin.checkpoint,
        "question": str(subject.origin.task or "task head").removesuffix(" (last token)"),
    }


SIZES = {"nLayers": "n_layers", "nHeads": "n_heads", "dModel": "d_model", "dHead": "d_head"}


def packed(model: Any) -> Float32[np.ndarray, " weight"]:
    """The model's weights in the order of `modelOf` in model.js; queries are divided by the attention's scale."""
    state = {name: tensor.detach().cpu().double().numpy() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    d_model, scale = model.cfg.d_model, model.cfg.attn_scale
    parts = [state["embed.W_E"], state["pos_embed.W_pos"]]
    for layer in range(model.cfg.n_layers):
        block = {name.removeprefix(f"blocks.{layer}."): value for name, value in state.items() if name.startswith(f"blocks.{layer}.")}
        read = [
            np.vstack([block[f"attn.W_{letter}"].transpose(1, 0, 2).reshape(d_model, -1), block[f"attn.b_{letter}"].reshape(1, -1)]) / by
            for letter, by in (("Q", scale), ("K", 1.0), ("V", 1.0))
        ]
        qkv = np.hstack(read)
        parts += [block["ln1.w"], block["ln1.b"], qkv[:-1], qkv[-1], block["attn.W_O"], block["attn.b_O"]]
        parts += [block[name] for name in ("ln2.w", "ln2.b", "mlp.W_in", "mlp.b_in", "mlp.W_out", "mlp.b_out")]
    parts += [state[name] for name in ("ln_final.w", "ln_final.b", "unembed.W_U", "unembed.b_U")]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def rules(kind: str) -> dict[str, Any]:
    """The constants of the counterfactuals, for edits.js."""
    return {
        "kind": kind,
        "rate_hz": KINDS[kind].rate_hz,
        "waves": KINDS[kind].waves,
        "flat": FLAT[kind],
        "core": complexes.CORE[kind],
        "before": complexes.BEFORE[kind],
        "after": complexes.AFTER[kind],
        "typical_s": complexes.TYPICAL_S[kind],
        "least_diastole": complexes.LEAST_DIASTOLE[kind],
        "margin_s": waves.MARGIN_S,
        "least_s": baseline.LEAST_S,
        "loudest": baseline.LOUDEST,
        "n_smoothings": baseline.N_SMOOTHINGS,
        "least_waves": warp.LEAST_WAVES,
        "least_beats": warp.LEAST_BEATS,
        "least_room": warp.LEAST_ROOM,
        "floor_s": FLOOR_S,
    }


def search() -> dict[str, float]:
    """How edits.js looks for a sham of equal dose: as `counterfactuals.first_matched`."""
    return {"most": MOST_BENT, "nTried": dose.N_TRIED, "nRounds": dose.FINE_ROUNDS, "near": dose.NEAR}


def _stored(windows: Windows, index: int) -> dict[str, Any]:
    """A window as edits.js takes it: its labels, the state of its generator, and the noise that its identity draws."""
    state = baseline.generator_of(windows, index, SEED).bit_generator.state["state"]
    noise = np.random.default_rng([SEED, int(windows.identity[index], 16)]).standard_normal(CONTEXT)
    return {
        "index": index,
        "startS": float(windows.start_s[index]),
        "low": float(windows.low[index]),
        "high": float(windows.high[index]),
        "tokens": _base64(windows.tokens[index]),
        "wave": _base64(windows.wave[index].astype(np.int8)),
        "known": _base64((windows.segment[index] != NONE).astype(np.uint8)),
        "position": _base64(windows.position[index].astype(np.float64)),
        "noise": _base64(noise),
        "draws": {"state": f"{state['state']:x}", "increment": f"{state['inc']:x}"},
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _refuse_unfit(subject: Any, windows: Windows) -> None:
    checkpoint = subject.origin.checkpoint
    if subject.answers != "last token":
        raise Refusal(f"{checkpoint} has no task head that gives one answer for a window; a live page takes a model that has, say ecg-af")
    if subject.edits or subject.engine.name == "hooked":
        raise Refusal(f"{checkpoint} is edited or has hooks, which a page cannot run; load it anew and give it as it is")
    if subject.weights.cfg.normalization_type != "LN":
        raise Refusal(f"{checkpoint} was loaded with folded norms; load it as it is")
    if windows.kind != subject.kind:
        raise Refusal(f"{checkpoint} reads {subject.kind}; these are {windows.kind} windows")
    if len(windows.records) != 1:
        raise Refusal(f"a live page shows one recording; these are windows of {len(windows.records)}")
    if len(windows) > MOST_WINDOWS:
        raise Refusal(f"a live page holds 1 to {MOST_WINDOWS} windows; given are {len(windows)}")
    if windows.waves != KINDS[windows.kind].waves:
        raise Refusal(f"the windows tell {', '.join(windows.waves)} apart; give them with {', '.join(KINDS[windows.kind].waves)}")


def _figure(subject: Any, windows: Windows, record: str, logits: np.ndarray, change: np.ndarray) -> Any:
    """The first window with its waves, what zeroing each head does to the logit (mean over windows), and what the counterfactuals do."""
    from heartlens import figures
    from heartlens.tasks.classify import logits_of
    from heartlens.tasks.classify.moved import logit_changes

    edits = logit_changes(windows, lambda tokens: logits_of(subject, tokens))
    changes = edits["logit_change"].values
    is_made = np.isfinite(changes).any(axis=1)
    with figures.style():
        page = figures.page(figures.PAGE_MM, 110)
        panels = page.subplot_mosaic([["signal", "signal"], ["heads", "edits"]], width_ratios=(2, 3))
        time_s = windows.start_s[0] + np.arange(CONTEXT) / windows.rate_hz
        figures.trace(panels["signal"], time_s, windows.tokens[0])
        figures.wave_strip(panels["signal"], time_s, windows.wave[0], list(windows.waves))
        panels["signal"].set_xlabel("time (s)")
        panels["signal"].set_title(f"{record}, probability {1 / (1 + np.exp(-logits[0])):.3f}", loc="left")
        image = figures.signed_map(panels["heads"], change.mean(axis=0), np.zeros(change.shape[1:], bool))
        page.colorbar(image, ax=panels["heads"], shrink=0.7, label="change of the logit")
        panels["heads"].set(xlabel="head that is zeroed", ylabel="layer")
        if is_made.any():
            names = [str(name) for name in edits["edit"].values[is_made]]
            figures.changes(panels["edits"], names, changes[is_made], np.nanmean(changes[is_made], axis=1))
            panels["edits"].set_xlabel("change of the logit")
        else:
            panels["edits"].set_axis_off()
    return page

"""What an engine does not compute it refuses in one line, or computes as the model itself does; never silently another number."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import model_of, random_state
from torch.nn import functional
from transformer_lens import HookedTransformer, HookedTransformerConfig

import heartlens.engine
from heartlens.cli import run_command
from heartlens.engine import Asked, compiled, engine_of
from heartlens.engine.kernel_compiler import version_folder
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal

TOKENS = torch.from_numpy(np.random.default_rng(0).integers(101, size=(2, 20)))
ASKED = Asked(np.zeros((2, 20), np.int32), np.zeros(1, np.int32))
FAST = ("fused", "torch")


def small_model(**options):
    return model_of(random_state(), **options)


def refused(work, *words):
    """The one line of a refusal, which must have these words."""
    with pytest.raises(Refusal) as caught:
        work()
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
    return line


def halved(tensor, hook):
    return tensor / 2


# a model that somebody changed

CHANGES = {  # what somebody does to a model, and what the refusal names
    "a hook": (lambda model: model.add_hook("blocks.1.hook_attn_out", halved), "hooks (at blocks.1.hook_attn_out)"),
    "a hook that stays": (lambda model: model.add_perma_hook("blocks.0.attn.hook_pattern", halved), "hook_pattern"),
    "a backward hook": (lambda model: model.add_hook("blocks.0.hook_mlp_out", halved, dir="bwd"), "hook_mlp_out"),
    "a module's hook": (lambda model: model.blocks[0].mlp.register_forward_pre_hook(lambda module, given: None), "blocks.0.mlp"),
    "use_attn_result": (lambda model: model.set_use_attn_result(True), "use_attn_result"),
    "use_split_qkv_input": (lambda model: model.set_use_split_qkv_input(True), "use_split_qkv_input"),
    "use_hook_mlp_in": (lambda model: model.set_use_hook_mlp_in(True), "use_hook_mlp_in"),
    "use_attn_in": (lambda model: model.set_use_attn_in(True), "use_attn_in"),
    "an open mask": (lambda model: setattr(model.blocks[0].attn, "_attention_dir_override", "bidirectional"), "mask"),
    "another scale": (lambda model: setattr(model.blocks[0].attn, "attn_scale", 1.0), "blocks.0.attn"),
    "another epsilon": (lambda model: setattr(model.blocks[1].ln1, "eps", 0.5), "blocks.1.ln1"),
    "another activation": (lambda model: setattr(model.blocks[1].mlp, "act_fn", functional.gelu), "blocks.1.mlp"),
    "another module": (lambda model: setattr(model.blocks[0], "mlp", torch.nn.Identity()), "blocks.0.mlp"),
    "another forward": (lambda model: setattr(model.blocks[0].mlp, "forward", lambda x: 2 * x), "blocks.0.mlp"),
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("name", FAST)
def test_a_changed_model_is_refused_before_and_after_an_engine_was_made(name, change):
    act, word = CHANGES[change]
    model = small_model()
    engine, subject = engine_of(model, name), subject_of(model, name)
    act(model)
    refused(lambda: engine_of(model, name), word, "--engine hooked")
    refused(lambda: engine.embed(TOKENS), word, "--engine hooked")
    refused(lambda: list(engine.sums(TOKENS, ASKED)), word)
    refused(lambda: list(engine.attention(TOKENS)), word)
    refused(lambda: subject.engine.embed(TOKENS), word)


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "a backward hook"])
def test_the_hooked_engine_computes_a_changed_model_as_it_runs(change):
    model = small_model()
    CHANGES[change][0](model)
    engine = engine_of(model)
    assert engine.name == "hooked"
    with torch.no_grad():
        expected = model(TOKENS)
        x = engine.embed(TOKENS)
        assert (engine.outputs(engine.run_blocks(x, 0)) - expected).abs().max() < 1e-5
        if change != "another module":
            parts = engine.parts(x, 0)
            assert (engine.outputs(engine.after(parts.post, 1)) - expected).abs().max() < 1e-5
        _, cache = model.run_with_cache(TOKENS)
    for layer in engine.attention(TOKENS):
        assert np.abs(layer.pattern - cache["pattern", layer.layer].numpy()).max() < 1e-6


def test_an_edit_that_is_over_leaves_nothing():
    model = small_model()
    engine = engine_of(model, "fused")
    before = engine.run_blocks(engine.embed(TOKENS), 0)
    with model.hooks(fwd_hooks=[("blocks.0.hook_attn_out", halved)]):
        refused(lambda: engine.embed(TOKENS), "hook_attn_out")
        assert engine_of(model).name == "hooked"
    assert engine_of(model).name == "fused"
    assert torch.equal(engine.run_blocks(engine.embed(TOKENS), 0), before)


# other architectures


def another(**settings):
    """A HookedTransformer that is no HeartGPT in these settings."""
    usual = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 16, "n_ctx": 30, "d_vocab": 101, "act_fn": "relu", "seed": 0}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        model = HookedTransformer(HookedTransformerConfig(**{**usual, "device": "cpu", "init_weights": True, **settings}))
    return model.eval()


OTHERS = {  # that the hooked engine computes
    "gelu": {"act_fn": "gelu"},
    "gated": {"gated_mlp": True},
    "rotary": {"positional_embedding_type": "rotary", "rotary_dim": 4},
    "RMS": {"normalization_type": "RMS"},
    "local": {"use_local_attn": True, "window_size": 5, "attn_types": ["local", "global"]},
    "by layer": {"scale_attn_by_inverse_layer_idx": True},
    "norms after": {"use_normalization_before_and_after": True, "normalization_type": "RMS"},
    "scores capped": {"attn_scores_soft_cap": 0.1},
}
BEYOND = {  # that no engine does
    "attention only": {"attn_only": True},
    "parallel": {"parallel_attn_mlp": True},
    "shortformer": {"positional_embedding_type": "shortformer"},
    "grouped keys": {"n_key_value_heads": 1},
    "logits capped": {"output_logits_soft_cap": 0.1},
}


@pytest.mark.parametrize("other", list(OTHERS))
def test_another_architecture_is_run_by_its_own_blocks_alone(other):
    model = another(**OTHERS[other])
    for name in FAST:
        refused(lambda name=name: engine_of(model, name), "architecture", "--engine hooked")
    engine = engine_of(model)
    assert engine.name == "hooked"
    with torch.no_grad():
        assert (engine.outputs(engine.run_blocks(engine.embed(TOKENS), 0)) - model(TOKENS)).abs().max() < 1e-5


@pytest.mark.parametrize("other", list(BEYOND))
def test_what_no_engine_computes_is_refused_by_all(other):
    model = another(**BEYOND[other])
    setting = next(iter(BEYOND[other]))
    for name in ("auto", *FAST, "hooked"):
        refused(lambda name=name: engine_of(model, name), setting)


@pytest.mark.parametrize("name", ["auto", *FAST, "hooked"])
def test_what_is_no_model_is_refused(name):
    refused(lambda: engine_of(torch.nn.Linear(2, 2), name), "HookedTransformer")


def test_an_unknown_engine_is_refused():
    refused(lambda: engine_of(small_model(), "fast"), "fast", "fused", "torch", "hooked")
    refused(lambda: subject_of(small_model(), "Fused"), "Fused", "fused")


def test_training_mode_changes_nothing():
    """HeartGPT's HookedTransformer has no dropout; a configuration that says so is refused."""
    model = small_model().train()
    with torch.no_grad():
        for name in FAST:
            engine = engine_of(model, name)
            assert (engine.outputs(engine.run_blocks(engine.embed(TOKENS), 0)) - model(TOKENS)).abs().max() < 1e-5
    model.cfg.dropout = 0.1
    for name in FAST:
        refused(lambda name=name: engine_of(model, name), "dropout")


# precisions and devices


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_fused_engine_refuses_other_precisions(dtype):
    model = small_model(dtype=dtype)
    refused(lambda: engine_of(model, "fused"), str(dtype).removeprefix("torch."), "--engine torch")
    assert engine_of(model).name == "torch"


def test_a_model_moved_to_another_precision_afterwards_is_refused():
    model = small_model()
    engine = engine_of(model, "fused")
    model.double()
    refused(lambda: engine.embed(TOKENS), "float64", "--engine torch")


def test_one_tensor_of_another_precision_is_enough():
    model = small_model()
    model.blocks[1].attn.W_K.data = model.blocks[1].attn.W_K.data.double()
    refused(lambda: engine_of(model, "fused"), "float64")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("tensor", ["W_Q", "W_K", "W_V", "b_V"])
def test_numbers_that_the_kernel_cannot_bear_are_refused(tensor, number):
    """It takes what is not finite for a number."""
    model = small_model()
    with torch.no_grad():
        getattr(model.blocks[0].attn, tensor)[0, ..., 1] = number
    engine = engine_of(model, "fused")
    refused(lambda: list(engine.sums(TOKENS, ASKED)), "not finite", "--engine torch")
    refused(lambda: engine.run_blocks(engine.embed(TOKENS), 0), "not finite")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize("engine", ["auto", "fused", "torch"])
def test_a_device_that_is_not_here_is_refused_in_one_line(engine, capsys, tmp_path):
    out = tmp_path / "out"
    options = ["ecg-sim", "--device", "cuda", "--engine", engine, "--out", str(out), "--n-twins", "0"]
    assert run_command("heartlens.analyses.head_scan", options) == 2
    line = capsys.readouterr().err.strip()
    assert "no CUDA device is here" in line
    assert "\n" not in line
    assert not out.exists()


# a kernel that is not to be had


@pytest.fixture
def anew(monkeypatch):
    """The kernels are asked for anew, and afterwards as before."""
    compiled.kernels.cache_clear()
    monkeypatch.setattr(heartlens.engine, "WARNED", set())
    yield monkeypatch
    monkeypatch.undo()
    compiled.kernels.cache_clear()


def no_numba(monkeypatch):
    for name in ("kernels", "kernel_compiler", "kernel_rows", "kernel_values"):
        monkeypatch.delitem(sys.modules, f"heartlens.engine.{name}", raising=False)
        monkeypatch.delattr(heartlens.engine, name, raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)


def no_compiler(monkeypatch):
    def fail(module):
        raise RuntimeError("LLVM ERROR: this processor is not known\nand more lines")

    monkeypatch.setattr(compiled, "_warm", fail)


def no_room(monkeypatch):
    def fail(module):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled, "_warm", fail)


@pytest.mark.parametrize("lack", [no_numba, no_compiler, no_room])
def test_without_the_kernel_torch_answers_and_says_so_once(lack, anew, capsys):
    lack(anew)
    model = small_model()
    refused(lambda: engine_of(model, "fused"), "cannot be compiled or kept", "--engine torch")
    capsys.readouterr()
    assert [engine_of(model).name, engine_of(small_model()).name] == ["torch", "torch"]
    said = capsys.readouterr().err.strip()
    assert "the torch engine answers instead" in said
    assert "\n" not in said


def test_where_compiled_code_cannot_be_kept_torch_answers(tmp_path):
    """A package whose folder takes no cache, and no folder of the user's either."""
    package = tmp_path / "heartlens"
    shutil.copytree(Path(heartlens.engine.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "engine" / "__pycache__").write_text("a file, where a folder should be")
    code = (
        "import heartlens as hl, torch\n"
        "from heartlens.engine import engine_of\n"
        "model = hl.load('ecg-sim')\n"
        "tokens = torch.arange(40)[None]\n"
        "engine = engine_of(model)\n"
        "with torch.no_grad():\n"
        "    off = (engine.outputs(engine.run_blocks(engine.embed(tokens), 0)) - model(tokens)).abs().max()\n"
        "print(engine.name, hl.__file__, bool(off < 1e-4))\n"
    )
    nowhere = os.devnull + "/nowhere"
    env = os.environ | {"PYTHONPATH": str(tmp_path), "HOME": nowhere, "XDG_CACHE_HOME": nowhere, "NUMBA_CACHE_DIR": nowhere}
    env |= {"HEARTLENS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torch", str(package / "__init__.py"), "True"]
    said = [line for line in done.stderr.splitlines() if line.startswith("heartlens:")]
    assert len(said) == 1, done.stderr
    assert "NUMBA_CACHE_DIR" in said[0]


def test_what_is_compiled_is_kept_beside_the_source_or_where_the_user_says():
    kernels = compiled.kernels()
    for kernel in (kernels.attention_output, kernels.attention_sums, kernels.attention_patterns):
        folder = Path(kernel._cache.cache_path)
        assert folder.is_dir()
        assert [path for path in folder.iterdir() if path.name.startswith(f"kernels.{kernel.py_func.__name__}-") and path.suffix == ".nbc"]
        assert folder.is_relative_to(version_folder(Path(kernels.__file__).parent, os.environ.get("NUMBA_CACHE_DIR", "")))


def test_a_change_of_any_file_of_kernels_has_all_of_them_compiled_anew(tmp_path):
    """numba itself would go on with a kernel in whose own file nothing has changed."""
    sources = Path(compiled.__file__).parent
    for path in sources.glob("*kernel*.py"):
        shutil.copy(path, tmp_path)
    folders = [version_folder(sources, "")]
    for path in sorted(tmp_path.glob("*.py")):
        path.write_text(path.read_text() + "\n")
        folders.append(version_folder(tmp_path, ""))
    assert len({folder.name for folder in folders}) == len(folders) > 5


@pytest.mark.parametrize(
    "started",
    [
        "import heartlens; dir(heartlens)",
        "from heartlens.store import read_summary",
        "from heartlens.cli import run_command\n"
        "try: run_command('heartlens.analyses.head_scan', ['--help'])\n"
        "except SystemExit as end: assert end.code == 0",
    ],
    ids=["import", "reading a result", "--help"],
)
def test_starting_up_imports_neither_torch_nor_numba(started):
    code = f"{started}\nimport sys\nassert not {{'torch', 'transformer_lens', 'numba', 'llvmlite'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# what is asked for


@pytest.mark.parametrize("name", [*FAST, "hooked"])
def test_no_windows_give_nothing(name):
    engine, none = engine_of(small_model(), name), TOKENS[:0]
    with torch.no_grad():
        x = engine.embed(none)
        assert engine.outputs(engine.run_blocks(x, 0)).shape == (0, 20, 101)
        assert engine.after(x, 0).shape == (0, 20, 8)

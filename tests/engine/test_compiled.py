"""The first run on a machine, which compiles the kernels: it gives the bits of every later one, and imports no more than it needs."""

import os
import subprocess
import sys

import pytest

STEPPED = """
from heartlens.engine.compiled import step_kernel

step_kernel()
"""
RUN = """
import hashlib

import torch

from heartlens.engine import engine_of
from heartlens.models.load import load

tokens = (torch.arange(2 * 500).view(2, 500) * 37) % 101
for layer in engine_of(load("ecg-sim"), "fused").attention(tokens):
    print(hashlib.sha256(layer.pattern.tobytes()).hexdigest())
"""


def printed(code, folder=None):
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(folder)} if folder else {})
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.split(), ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(folder):
    """What the first run on a machine prints, where steps were compiled before attention."""
    return printed(STEPPED + RUN, folder)


def test_what_is_compiled_now_gives_the_bits_of_what_is_found_compiled(first, folder):
    later, messages = printed(RUN, folder)
    assert "compiling the attention kernel for this processor, once" in first[1]
    assert "compiling" not in messages
    assert len(later) > 1
    assert later == first[0]


def test_attention_has_the_same_bits_where_it_was_compiled_without_steps_before_it(first):
    assert printed(RUN)[0] == first[0]


def test_the_process_that_compiles_does_without_torch():
    """It starts and ends before the command goes on, so every second of its imports is one more of the first run."""
    code = "import sys, heartlens.engine.kernels, heartlens.engine.step_kernel, heartlens.engine.compiled; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"

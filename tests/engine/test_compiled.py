"""The first run on a machine, which compiles the kernels, gives the bits of every later one."""

import os
import subprocess
import sys

RUN = """
import hashlib

import torch

from heartlens.engine import engine_of
from heartlens.models.load import load

tokens = (torch.arange(2 * 500).view(2, 500) * 37) % 101
for layer in engine_of(load("ecg-sim"), "fused").attention(tokens):
    print(hashlib.sha256(layer.pattern.tobytes() + layer.entropy.tobytes()).hexdigest())
"""


def printed(folder):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    ended = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.split(), ended.stderr


def test_what_is_compiled_now_gives_the_bits_of_what_is_found_compiled(tmp_path):
    first, told_first = printed(tmp_path)
    later, told_later = printed(tmp_path)
    assert "compiling the attention kernel for this processor, once" in told_first
    assert "compiling" not in told_later
    assert len(first) > 1
    assert later == first

"""The checkpoints there are: one literal table of the published ones, and one of what the aliases mean.

Exact names, published or embedded, never substitute. An alias means the published checkpoint, and the embedded one, a small model trained
on simulated signals only, where the published one cannot be had.

Source of the published ones: harryjdavies/HeartGPT at UPSTREAM_COMMIT, MIT licence. `sha256` is that of
the zip as published, `fingerprint` that of the tensors in it (`read.fingerprint`).
"""

from dataclasses import dataclass

from heartlens.refusal import unknown

UPSTREAM_COMMIT = "3acd46822534dc90e2cfface43aa12347c9147d8"
UPSTREAM = f"https://raw.githubusercontent.com/harryjdavies/HeartGPT/{UPSTREAM_COMMIT}/Model_files"
CITATION = "Davies, Monsen, Mandic: Interpretable Pre-Trained Transformers for Heart Time-Series Data, arXiv 2407.20775 (2024)"


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a published checkpoint. `sha256` is its zip's, `fingerprint` its tensors'.

    `task` is None for next-token prediction, else what the task head decides.
    """

    name: str
    file: str
    sha256: str
    fingerprint: str
    kind: str
    rate_hz: float
    vocabulary: int
    task: str | None
    licence: str = "MIT"
    citation: str = CITATION

    @property
    def url(self) -> str:
        """Where the file is published, pinned to one commit."""
        return f"{UPSTREAM}/{self.file}"


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            name="ecgpt-560k",
            file="ECGPT_560k_iters.zip",
            sha256="781eb1c7c6143c18b3795d12e05468fb50fb2d2bc1a3798a2f13cc6cb257736d",
            fingerprint="c66d94496b19f3ff9e911d7b30e593036ba45e206de6d166f407f967b9cba604",
            kind="ecg",
            rate_hz=100.0,
            vocabulary=101,
            task=None,
        ),
        Checkpoint(
            name="ecgpt-af-1k",
            file="ECGPT_AF_1k_iters.zip",
            sha256="b0ff7ed0502e57865b096175a8352d994efa785de39d0135b5fa538d3e106d16",
            fingerprint="06f77736eea4976b6ec03d060723a116416dc5621fa53404f56aa83c774c07bc",
            kind="ecg",
            rate_hz=100.0,
            vocabulary=101,
            task="atrial fibrillation (last token)",
        ),
        Checkpoint(
            name="ppgpt-500k",
            file="PPGPT_500k_iters.zip",
            sha256="c8054f154f86f71d9df2094b1283a78034b0aeb4e2467082ed980cf57b656a29",
            fingerprint="04aa8afabcf39f9a481b8c2bb0d2f7f5d5f49881333ee400cfa6ef803a749c3a",
            kind="ppg",
            rate_hz=50.0,
            vocabulary=102,
            task=None,
        ),
        Checkpoint(
            name="ppgpt-af-1k",
            file="PPGPT_AF_1k_iters.zip",
            sha256="f00fe3331c359089c3af4d5ad1c74fa6279ab2dc9d2006ee2341f9b296c11f97",
            fingerprint="cff6f396d2fde48d59e728573c0ca6887ee233d552562181b08a31524c7bc4ee",
            kind="ppg",
            rate_hz=50.0,
            vocabulary=102,
            task="atrial fibrillation (last token)",
        ),
        Checkpoint(
            name="ppgpt-beat-5k",
            file="PPGPT_beat_5k_iters.zip",
            sha256="e955cde3bed281f5974e252b5e0b89a89f0b1151f23725fdea3f8336a2b50f9d",
            fingerprint="88ec51d9a57d3c54eb6354b688cd8ce8bb4220b118b19d9b7f89a63d6468e5ac",
            kind="ppg",
            rate_hz=50.0,
            vocabulary=102,
            task="beat (every token)",
        ),
    )
}


@dataclass(frozen=True)
class Alias:
    """What an alias means: `published` if it can be had, else `embedded`, which comes with the package."""

    published: str
    embedded: str


ALIASES = {
    "ecg": Alias(published="ecgpt-560k", embedded="ecg-sim"),
    "ppg": Alias(published="ppgpt-500k", embedded="ppg-sim"),
    "ecg-af": Alias(published="ecgpt-af-1k", embedded="ecg-sim-af"),
    "ppg-af": Alias(published="ppgpt-af-1k", embedded="ppg-sim-af"),
    "ppg-beat": Alias(published="ppgpt-beat-5k", embedded="ppg-sim-beat"),
}
EMBEDDED = tuple(alias.embedded for alias in ALIASES.values())
NAMES = (*ALIASES, *CHECKPOINTS, *EMBEDDED)


def published(name: str) -> Checkpoint:
    """The published checkpoint of an exact name or alias. Refuses any other name, with the nearest one.

    >>> published("ecg").name
    'ecgpt-560k'
    """
    exact = ALIASES[name].published if name in ALIASES else name
    if exact not in CHECKPOINTS:
        raise unknown("checkpoint", name, NAMES)
    return CHECKPOINTS[exact]

"""A fine-tuned model's base: what it was before its last block and task head were trained.

Known from the registry, or from the model card that fine-tuning writes: the base's name and the fingerprint of its tensors. A base that is
one's own file is looked for by its name, in the fine-tuned file's folder, in those around it and in the working directory; what is taken is
the file with the fingerprint of the card.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from heartlens.checkpoints.read import SUFFIXES
from heartlens.checkpoints.registry import ALIASES, NAMES
from heartlens.converters.weights import Weights
from heartlens.models.load import load_weights, read
from heartlens.models.origin import origin_of
from heartlens.models.subject import Subject
from heartlens.refusal import Refusal

AUTO = "auto"


class UnknownBase(Refusal):
    """Nothing tells what a model was fine-tuned from."""


def base_of(subject: Subject, name: str = AUTO) -> Weights:
    """The tensors of the base of a fine-tuned model: the checkpoint `name`, or for AUTO the one that the registry or the model card tells.

    Refuses AUTO where neither tells it or its file is not found, a base of another size, and one with another fingerprint than the card's.
    """
    called, told = subject.origin.checkpoint, _base_on_card(subject)
    base = _loaded(_known_base(subject) if name == AUTO else name)
    sizes = ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab")
    different = [size for size in sizes if getattr(subject.sizes, size) != getattr(base.cfg, size)]
    if different:
        differences = ", ".join(f"{size} {getattr(subject.sizes, size)} and {getattr(base.cfg, size)}" for size in different)
        raise Refusal(f"{origin_of(base).checkpoint} is no base of {called}: they differ in {differences}")
    if told and origin_of(base).fingerprint != told["fingerprint"]:
        raise Refusal(
            f"{origin_of(base).checkpoint} is not what {called} was fine-tuned from: by its model card that is {told['checkpoint']} with "
            f"fingerprint {told['fingerprint'][:12]}, and this one has {origin_of(base).fingerprint[:12]}; give the file with --base"
        )
    return base


def _base_on_card(subject: Subject) -> dict[str, str]:
    """Name and fingerprint of the base as the model card tells them; empty where it does not."""
    base = subject.card.get("base")
    is_told = isinstance(base, dict) and all(isinstance(base.get(key), str) for key in ("checkpoint", "fingerprint"))
    return base if is_told else {}  # type: ignore[return-value]


def _known_base(subject: Subject) -> str:
    checkpoint, told = subject.origin.checkpoint, _base_on_card(subject)
    for name, alias in ALIASES.items():
        kind, *task = name.split("-")
        if task and checkpoint in (alias.published, alias.embedded):
            return getattr(ALIASES[kind], "published" if checkpoint == alias.published else "embedded")
    if not told:
        raise UnknownBase(f"it is not known what {checkpoint} was fine-tuned from; name its base checkpoint with --base")
    if told["checkpoint"] in NAMES:
        return told["checkpoint"]
    file = _file_of(told["checkpoint"], told["fingerprint"], getattr(subject.weights, "file", None), Path.cwd())
    if file is None:
        raise Refusal(
            f"{checkpoint} was fine-tuned from {told['checkpoint']} (fingerprint {told['fingerprint'][:12]}), and no such file is beside "
            "it, around it or in the working directory; give it with --base FILE (patching also takes --base none)"
        )
    return str(file)


@lru_cache(maxsize=16)
def _file_of(name: str, fingerprint: str, tuned: Path | None, working: Path) -> Path | None:
    """The checkpoint file of this name and fingerprint, near the fine-tuned file or in the working directory; None where none is."""
    for file in _files_called(name, tuned, working):
        try:
            if read(file)[1].fingerprint == fingerprint:
                return file
        except Refusal:
            continue
    return None


def _files_called(name: str, tuned: Path | None, working: Path) -> Iterator[Path]:
    """Checkpoint files of this name in and around the fine-tuned file's folder, and in the working directory."""
    if "/" in name or "\\" in name or Path(name).suffix not in SUFFIXES:
        return
    itself = tuned.resolve() if tuned else None
    folders = [itself.parent, itself.parent.parent, working] if itself else [working]
    for folder in dict.fromkeys(folders):
        try:
            around = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        except OSError:
            around = []
        files = [place / name for place in (folder, *around)]
        yield from (file for file in files if file.is_file() and file.resolve() != itself)


@lru_cache(maxsize=4)
def _loaded(name: str) -> Weights:
    return load_weights(name)

"""A fine-tuned model's base: what it was before its last block and task head were trained."""

from functools import lru_cache

from heartlens.checkpoints.registry import ALIASES
from heartlens.converters.lens import HookedTransformer
from heartlens.models.load import load
from heartlens.models.origin import origin_of
from heartlens.models.subject import Subject
from heartlens.refusal import Refusal

AUTO = "auto"


def base_of(subject: Subject, name: str = AUTO) -> HookedTransformer:
    """The base of a fine-tuned model: the checkpoint `name`, or for AUTO the one it was fine-tuned from as the registry knows it.

    Refuses AUTO for a model that the registry does not know as fine-tuned, and a base of another size.
    """
    base = _loaded(_known_base(subject.origin.checkpoint) if name == AUTO else name)
    sizes = ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab")
    different = [size for size in sizes if getattr(subject.sizes, size) != getattr(base.cfg, size)]
    if different:
        differences = ", ".join(f"{size} {getattr(subject.sizes, size)} and {getattr(base.cfg, size)}" for size in different)
        raise Refusal(f"{origin_of(base).checkpoint} is no base of {subject.origin.checkpoint}: they differ in {differences}")
    return base


def _known_base(checkpoint: str) -> str:
    for name, alias in ALIASES.items():
        kind, *task = name.split("-")
        if task and checkpoint in (alias.published, alias.embedded):
            return getattr(ALIASES[kind], "published" if checkpoint == alias.published else "embedded")
    raise Refusal(f"it is not known what {checkpoint} was fine-tuned from; name its base checkpoint")


@lru_cache(maxsize=4)
def _loaded(name: str) -> HookedTransformer:
    return load(name)

"""`python -m heartlens.training.embedded ecg`: rebuild the embedded models of a kind from their seed, and measure what their cards say.

Small models in the published format, trained on simulated people alone, so that everything runs with nothing downloaded. `ecg-sim` and
`ppg-sim` forecast the next token; `-af` tells simulated atrial fibrillation from sinus rhythm, with and without premature beats;
`-beat` finds systolic peaks. They are not clinical and not the paper's. Every run goes on where it was stopped. With --data, a folder
laid out as `real` says, the cards also hold how the models do on real recordings, beside the published ones on the same windows.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from heartlens.axes import KINDS
from heartlens.checkpoints.card import read_card, write_with_card
from heartlens.checkpoints.fetch import embedded_path
from heartlens.checkpoints.read import fingerprint, read_state
from heartlens.checkpoints.registry import CITATION
from heartlens.exits import DONE, exit_code, leave
from heartlens.models.origin import Origin
from heartlens.parser import Parser
from heartlens.training import held_out, real
from heartlens.training.beats import event_figures
from heartlens.training.card import IS_NOT, tuned_card
from heartlens.training.command import accelerator, reporter
from heartlens.training.corpus import Corpus, divided
from heartlens.training.evaluation import Figures, window_figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Finetune, predict
from heartlens.training.frozen import frozen_part
from heartlens.training.given import simulated_examples
from heartlens.training.judged import Trainer
from heartlens.training.network import network_of
from heartlens.training.pretrain import Pretrain, pretrain
from heartlens.training.run_folder import FROZEN, opened
from heartlens.training.simulation import corpus_of, simulated_people
from heartlens.training.tasks import TASKS, Task, trained_from
from heartlens.whole import sha256_of

PEOPLE, SEED = 1200, 0
TASK_PEOPLE, TASK_SEED = 400, 1  # other people than those of the pre-training
TEST_PEOPLE, TEST_SEED = 200, 2  # and others again
N_BASELINE = 4  # windows of each person of the pre-training that the baselines are fitted to
N_CONTEXTS = 24  # windows of sinus rhythm that are gone on with
SMALL = Pretrain(
    layers=4,
    heads=4,
    d_model=64,
    steps=8000,
    batch=16,
    learning_rate=2e-3,
    warmup=200,
    dropout=0.0,
    validate_every=250,
    validation_windows=128,
    seed=SEED,
)
TUNED = Finetune(steps=1500, batch=128, learning_rate=3e-3, warmup=50, dropout=0.0, folds="none", stride=250, seed=TASK_SEED)
TUNED_ON = {"af": TUNED, "beat": replace(TUNED, steps=1000, batch=16)}  # with a target for every token, a window says more
TASKS_OF = {"ecg": ("af",), "ppg": ("af", "beat")}
ABOUT = {"licence": "MIT", "is_not": f"{IS_NOT} Trained on simulated signals alone: for trying things out and for tests, never for people."}


def run_embedded(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _build(_parser().strict(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m heartlens.training.embedded", description=__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=tuple(KINDS), help="kind of signal")
    parser.add_argument("--out", type=Path, default=Path("out/embedded"), help="folder of the runs (default: out/embedded)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="real recordings to measure the models on")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors")
    return parser


def _build(given: Any) -> int:
    base = _pretrained(given.kind, given.out, given.quiet)
    paths = [base, *(_fine_tuned(base, given.kind, TASKS[name], given.out, given.quiet) for name in TASKS_OF[given.kind])]
    for path in paths:
        if given.data:
            measured = real.measured(path.stem, given.data)
            write_with_card(read_state(path), path, {**read_card(path), "real_recordings": measured})
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256_of(path)}")
    return DONE


def _pretrained(kind: str, out: Path, quiet: bool) -> Path:
    """The next-token model, trained or gone on with, then measured on people of another seed."""
    corpus = corpus_of(kind, simulated_people(kind, PEOPLE, SEED), SEED)
    identity = {"data": corpus.source, "data_sha256": corpus.sha256}
    path = embedded_path(f"{kind}-sim")
    with opened(out / f"{kind}-sim", {**asdict(SMALL), **identity}, resume=True, overwrite=False) as folder:
        with reporter(SMALL.schedule(), quiet) as report:
            pretrain(SMALL, corpus, folder, accelerator("cpu", "float32"), report)
        card = read_card(folder.checkpoint) | ABOUT | {"name": f"{kind}-sim", "held_out": _next_token(kind, folder.kept(), corpus)}
        write_with_card(folder.kept(), path, card)
    return path


def _next_token(kind: str, state: Any, corpus: Corpus) -> dict[str, Any]:
    training, _ = divided(corpus, SMALL.validation_share, SMALL.seed)
    people = simulated_people(kind, TEST_PEOPLE, TEST_SEED)
    test = corpus_of(kind, people, TEST_SEED)
    contexts, _ = held_out.crops_of_each(test.of([each.name for each in people if each.rhythm == "sinus"]), N_CONTEXTS, 1, TEST_SEED)
    return {
        "data": test.source,
        "cross_entropy": held_out.beside_baselines(state, training, test, N_BASELINE, TEST_SEED),
        "generated_heart_rate": held_out.kept_rate(state, kind, contexts, TEST_SEED),
    }


def _fine_tuned(base: Path, kind: str, task: Task, out: Path, quiet: bool) -> Path:
    """The model with a task head, trained or gone on with, then measured on people of another seed."""
    options, state = TUNED_ON[task.name], read_state(base)
    name = f"{base.stem}-{task.name}"
    examples = simulated_examples(kind, task, TASK_PEOPLE, options)
    identity = {"checkpoint": fingerprint(state), "task": task.name, "data": examples.source, "data_sha256": examples.sha256}
    network = network_of(state)
    start = trained_from(options.train, len(network.blocks))
    with (
        opened(out / name, {**asdict(options), **identity}, resume=True, overwrite=False) as folder,
        reporter(options.schedule(), quiet) as report,
    ):
        entering = frozen_part(network, examples.tokens, start, examples.last_only, folder.path / FROZEN)
        trainer = Trainer(options, state, examples, entering, folder, accelerator("cpu", "float32"))
        tuned = trainer.tuned(examples.records, folder, report)
    threshold = trainer.threshold(tuned)
    (folder.path / FROZEN).unlink(missing_ok=True)  # there is none where everything trains
    origin = Origin(base.stem, kind, None, sha256_of(base), fingerprint(state), "MIT", CITATION, "none")
    card = tuned_card(task, examples.head(), origin, options, examples, tuned, threshold, {}) | ABOUT
    measured = simulated_examples(kind, task, TEST_PEOPLE, Finetune(stride=options.stride, seed=TEST_SEED))
    figures = figures_at(tuned.state, threshold, measured)
    card |= {"name": name, "held_out": {"data": measured.source, **{each: str(figure) for each, figure in figures.items()}}}
    write_with_card(tuned.state, embedded_path(name), card)
    return embedded_path(name)


def figures_at(state: Any, threshold: float, examples: Examples) -> Figures:
    """The figures of a checkpoint of two classes on examples, at a threshold."""
    import numpy as np

    said = predict(state, examples.tokens, np.arange(len(examples)), 0, examples.last_only)
    thresholds = np.full(len(examples), threshold)
    if examples.last_only:
        return window_figures(said[:, 0], thresholds, examples, TEST_SEED)
    return event_figures(said[..., 0], examples, thresholds, TEST_SEED)


if __name__ == "__main__":
    leave(lambda: run_embedded(sys.argv[1:]))

"""From the command line to examples: recordings with their table of labels, or simulated people whose truth is known."""

import argparse
from dataclasses import replace

from heartlens.refusal import Refusal
from heartlens.signals.hints import hints_of
from heartlens.training.examples import Examples, number_examples, token_examples, window_examples
from heartlens.training.finetune import Finetune
from heartlens.training.labels import check_classes, read_events, read_label_columns, read_record_labels
from heartlens.training.recordings import read_corpus
from heartlens.training.simulation import corpus_of, simulated_people
from heartlens.training.targets import ranges_of, read_targets, within_record
from heartlens.training.tasks import LABELS, REGRESSION, Task


def examples_of(given: argparse.Namespace, kind: str, task: Task, options: Finetune) -> Examples:
    """The examples a command line asks for. Refuses recordings without labels or targets, and these without recordings."""
    wanted = "--targets" if task.name == REGRESSION else "--labels"
    table = given.targets if task.name == REGRESSION else given.labels
    other = given.labels if task.name == REGRESSION else given.targets
    if other:
        raise Refusal(f"task {task.name!r} learns from {wanted}, not from {other}; numbers are --task {REGRESSION} --targets TABLE")
    if bool(given.data) != bool(table):
        lacking = f"recordings need {wanted}" if given.data else f"{wanted} needs recordings"
        raise Refusal(f"{lacking}: recordings and the table of their {wanted[2:]} belong together; leave both out for simulated people")
    _refuse_unused(given, task, options)
    return _recorded(given, kind, task, options) if given.data else simulated_examples(kind, task, given.people, options)


def _refuse_unused(given: argparse.Namespace, task: Task, options: Finetune) -> None:
    """Refuse options that this task would leave aside."""
    if options.unmask_last_block and task.reads == "last":
        raise Refusal(
            "--unmask-last-block changes nothing where the last token is read: it sees all others anyway; give --reads every, or leave it"
        )
    if given.compare and task.name in (REGRESSION, LABELS):
        raise Refusal(f"--compare judges checkpoints that tell classes apart; with --task {task.name} leave it out")
    numbers_only = {"--units": given.units, "--ranges": given.ranges, "--within-record": given.within_record}
    for option, value in numbers_only.items():
        if value and task.name != REGRESSION:
            raise Refusal(f"{option} is of numbers; give --task {REGRESSION} --targets TABLE, or leave it out")
    if given.columns and task.name not in (REGRESSION, LABELS):
        raise Refusal(f"--columns is of --task {REGRESSION} or {LABELS}; the classes of one label are given with --classes")


def _recorded(given: argparse.Namespace, kind: str, task: Task, options: Finetune) -> Examples:
    n_tokens = options.n_tokens(kind)
    corpus = read_corpus(given.data, kind, given.bandpass, given.persons, given.person, n_tokens, **hints_of(given))
    if task.name == REGRESSION:
        ranges = ranges_of(given.ranges)
        targets = read_targets(given.targets, corpus.records, given.columns, given.units, ranges, given.partial, corpus.copies)
        if targets.is_uncalibrated and not given.within_record:
            raise Refusal(
                f"{given.targets}: {', '.join(targets.names)} has arbitrary units ({', '.join(targets.units)}), which mean something else "
                "in every recording; --within-record learns changes within a recording, else give calibrated numbers in a unit such as mmhg"
            )
        targets = within_record(targets) if given.within_record else targets
        return number_examples(corpus, targets, task.reads, options.stride, n_tokens)
    if task.name == LABELS:
        if not given.columns or task.reads != "last" or given.classes or given.leave_out:
            raise Refusal(
                "--task labels needs --columns, the columns of the table --labels that say yes or no; it reads the last token: leave out "
                "--classes, --leave-out and --reads every"
            )
        of, notes = read_label_columns(given.labels, corpus.records, tuple(given.columns), given.partial, corpus.copies)
        return replace(window_examples(corpus, of, tuple(given.columns), options.stride, n_tokens), notes=corpus.notes + notes)
    if task.reads == "every":
        event_s, notes = read_events(given.labels, corpus.records, given.partial, corpus.copies)
        events = token_examples(corpus, event_s, task.name, options.event_width_s, options.stride, n_tokens)
        return replace(events, notes=corpus.notes + notes)
    if not given.classes or len(set(given.classes)) != len(given.classes) or len(given.classes) < 2:
        raise Refusal(f"--classes is {', '.join(given.classes or []) or 'missing'}; give two or more different labels, say --classes N,A")
    labels = read_record_labels(given.labels, corpus.records, tuple(given.classes), tuple(given.leave_out), given.partial, corpus.copies)
    return replace(window_examples(corpus, labels.of, labels.classes, options.stride, n_tokens), notes=corpus.notes + labels.notes)


def simulated_examples(kind: str, task: Task, n_people: int, options: Finetune) -> Examples:
    """Simulated people: AF against sinus rhythm with and without premature beats, or every R or systolic peak."""
    n_tokens = options.n_tokens(kind)
    people = simulated_people(kind, n_people, options.seed)
    corpus = corpus_of(kind, people, options.seed)
    if task.name == "af":
        label_of = {person.name: int(person.rhythm == "af") for person in people}
        check_classes(corpus.source, ("no AF", "AF"), label_of.values())
        return window_examples(corpus, label_of, ("no AF", "AF"), options.stride, n_tokens)
    if task.name == "beat":
        beat_s = {person.name: person.beat_s for person in people}
        return token_examples(corpus, beat_s, task.name, options.event_width_s, options.stride, n_tokens)
    raise Refusal(f"simulated people have no labels for {task.name!r}; legal without --data: af, beat")

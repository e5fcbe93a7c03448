"""From the command line to examples: recordings with their table of labels, or simulated people whose truth is known."""

import argparse
from dataclasses import replace

from heartlens.refusal import Refusal
from heartlens.signals.hints import hints_of
from heartlens.training.examples import Examples, token_examples, window_examples
from heartlens.training.finetune import Finetune
from heartlens.training.labels import check_classes, read_events, read_record_labels
from heartlens.training.recordings import read_corpus
from heartlens.training.simulation import corpus_of, simulated_people
from heartlens.training.tasks import Task


def examples_of(given: argparse.Namespace, kind: str, task: Task, options: Finetune) -> Examples:
    """The examples a command line asks for. Refuses recordings without labels, and labels without recordings."""
    if bool(given.data) != bool(given.labels):
        lacking = "recordings need --labels" if given.data else "--labels needs recordings"
        raise Refusal(f"{lacking}: recordings and the table of their labels belong together; leave both out for simulated people")
    return _recorded(given, kind, task, options) if given.data else simulated_examples(kind, task, given.people, options)


def _recorded(given: argparse.Namespace, kind: str, task: Task, options: Finetune) -> Examples:
    corpus = read_corpus(given.data, kind, given.bandpass, given.persons, given.person, **hints_of(given))
    if task.reads == "every":
        event_s, notes = read_events(given.labels, corpus.records, given.partial, corpus.copies)
        return replace(token_examples(corpus, event_s, task.name, options.event_width_s, options.stride), notes=corpus.notes + notes)
    if not given.classes or len(set(given.classes)) != len(given.classes) or len(given.classes) < 2:
        raise Refusal(f"classes are {', '.join(given.classes or []) or 'missing'}; give two or more different labels, say --classes N,A")
    labels = read_record_labels(given.labels, corpus.records, tuple(given.classes), tuple(given.leave_out), given.partial, corpus.copies)
    return replace(window_examples(corpus, labels.of, labels.classes, options.stride), notes=corpus.notes + labels.notes)


def simulated_examples(kind: str, task: Task, n_people: int, options: Finetune) -> Examples:
    """Simulated people: AF against sinus rhythm with and without premature beats, or every R or systolic peak."""
    people = simulated_people(kind, n_people, options.seed)
    corpus = corpus_of(kind, people, options.seed)
    if task.name == "af":
        label_of = {person.name: int(person.rhythm == "af") for person in people}
        check_classes(corpus.source, ("no AF", "AF"), label_of.values())
        return window_examples(corpus, label_of, ("no AF", "AF"), options.stride)
    if task.name == "beat":
        return token_examples(corpus, {person.name: person.beat_s for person in people}, task.name, options.event_width_s, options.stride)
    raise Refusal(f"simulated people have no labels for {task.name!r}; legal without --data: af, beat")

"""Persons (or records) divided into folds, each class evenly: none is on two sides, whatever the number of its windows."""

import hashlib

from heartlens.refusal import Refusal


def folds(class_of: dict[str, int], n_folds: int, seed: int) -> list[list[str]]:
    """The persons (or records) of each fold, which has its share of every class. Refuses fewer than folds, and less than 2 folds."""
    if not 2 <= n_folds <= len(class_of):
        raise Refusal(f"{n_folds} folds cannot be made of {len(class_of)} records; legal: 2 to {len(class_of)}, or none")
    dealt: list[list[str]] = [[] for _ in range(n_folds)]
    for place, record in enumerate(_shuffled(class_of, seed)):
        dealt[place % n_folds].append(record)
    return dealt


def held_out(class_of: dict[str, int], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Persons (or records) to train on and to validate with: of each class about `share`, at least one, not all. Refuses a class of one."""
    training, validation = [], []
    for label in sorted(set(class_of.values())):
        records = [name for name in _shuffled(class_of, seed) if class_of[name] == label]
        if len(records) < 2:
            raise Refusal(f"only record {records[0]} of its class is left to train on; training and validation need one each")
        n_held = min(max(1, round(share * len(records))), len(records) - 1)
        validation += records[:n_held]
        training += records[n_held:]
    return training, validation


def _shuffled(class_of: dict[str, int], seed: int) -> list[str]:
    """The records class by class, within a class in an order drawn from the names and `seed`."""
    return sorted(class_of, key=lambda name: (class_of[name], hashlib.sha256(f"{seed}|{name}".encode()).digest()))

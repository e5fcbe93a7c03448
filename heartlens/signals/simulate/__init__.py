"""Signals whose landmarks are known exactly, because they were put there."""

from heartlens.signals.simulate.corpus import simulated

__all__ = ["simulated"]

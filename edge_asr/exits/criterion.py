"""Criteria: the interface, and the registry by name. A new criterion is one file and one line here."""

from __future__ import annotations

from typing import Protocol

from edge_asr.errors import OptionError
from edge_asr.exits.frame_entropy import FrameEntropy
from edge_asr.exits.margin import Margin
from edge_asr.exits.max_posterior import MaxPosterior
from edge_asr.exits.stats import ExitStats


class Criterion(Protocol):
    """A number that says how sure an exit is of a chunk."""

    @property
    def name(self) -> str:
        """The name in ``policy.json``."""
        ...

    def value(self, stats: ExitStats) -> float:
        """Computes the number from an exit's mean stats."""
        ...

    def sure(self, value: float, threshold: float) -> bool:
        """Tells whether a value is sure enough."""
        ...


CRITERIA: dict[str, Criterion] = {criterion.name: criterion for criterion in (FrameEntropy(), MaxPosterior(), Margin())}


def get_criterion(name: str) -> Criterion:
    """Finds a criterion by name.

    Raises:
        OptionError: If there is none; the message names the known ones.

    Example:
        >>> get_criterion("frame_entropy").sure(0.1, 0.2)
        True
    """
    if name not in CRITERIA:
        raise OptionError(f"criterion={name!r}: expected one of {', '.join(CRITERIA)}")
    return CRITERIA[name]

"""Criteria: the base class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from edge_asr.errors import OptionError
from edge_asr.exits.view import ExitView


class Criterion(ABC):
    """A number that says how sure an exit is of a chunk.

    Attributes:
        name: The name in ``policy.json``.
        small_is_sure: Whether small values are sure ones (entropies), or large ones (probabilities).
    """

    name: ClassVar[str]
    small_is_sure: ClassVar[bool] = False

    @abstractmethod
    def value(self, view: ExitView) -> float:
        """Computes the number from what an exit, and those before it, say about a chunk."""

    def sure(self, value: float, threshold: float) -> bool:
        """Tells whether a value is sure enough; a threshold is inclusive."""
        return value <= threshold if self.small_is_sure else value >= threshold

    def stricter(self, threshold: float, by: float) -> float:
        """Moves a threshold so that it is harder to pass."""
        return threshold - by if self.small_is_sure else threshold + by

    def configured(self, parameters: Mapping[str, Any], exits: int) -> Criterion:
        """Gives the criterion with the parameters that ``policy.json`` holds for it.

        Args:
            parameters: Its parameters for one chunk size; most criteria have none.
            exits: How many exits the model has.

        Raises:
            OptionError: If the parameters aren't those of this criterion.
        """
        if parameters:
            raise OptionError(f"criterion {self.name} has no parameters, but {', '.join(parameters)} given")
        return self

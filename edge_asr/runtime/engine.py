"""Engines: the interface between the runtime and whatever runs a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Engine(Protocol):
    """Runs a bundle's graphs: ``frontend``, ``segment1``, ``segment2`` …

    An engine may be used by several threads at once and has no state between calls.
    """

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs a graph once.

        Args:
            graph: Its name.
            inputs: Arrays by the names of ``docs/architecture.md``, "Graphs". The caller may change them
                afterwards.

        Returns:
            All outputs by name; arrays of their own.

        Raises:
            BundleError: If the graph can't be run on these inputs.
        """
        ...

"""Policies: the interface."""

from __future__ import annotations

from typing import Protocol

from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView


class Policy(Protocol):
    """Decides after each exit of a chunk to stop there or to run the next segment.

    The runtime asks from exit 1 on; it doesn't ask at the last exit, where there is nothing left to run.
    A policy keeps nothing from chunk to chunk: what it needs to know of the chunk before is in ``chunk``.
    """

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Decides.

        Args:
            view: What the exit that has just spoken says, and those before it.
            chunk: Which chunk it is.

        Returns:
            True to take this exit's result, False to go on.
        """
        ...

"""Policies: the interface."""

from __future__ import annotations

from typing import Protocol

from edge_asr.exits.stats import ChunkInfo, ExitStats


class Policy(Protocol):
    """Decides after each exit of a chunk to stop there or to run the next segment.

    The runtime asks from exit 1 on; it doesn't ask at the last exit, where there is nothing left to run.
    """

    def stop(self, exit: int, stats: ExitStats, chunk: ChunkInfo) -> bool:
        """Decides.

        Args:
            exit: The exit that has just spoken, from 1.
            stats: Its mean stats over the chunk.
            chunk: Which chunk it is.

        Returns:
            True to take this exit's result, False to go on.
        """
        ...

"""Policy: always the same depth."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asr.errors import OptionError
from edge_asr.exits.stats import ChunkInfo, ExitStats


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Stops at one exit, whatever the stats.

    Attributes:
        exit: The exit, from 1.

    Raises:
        OptionError: If the exit is less than 1.

    Example:
        >>> chunk = ChunkInfo(index=0, first_frame=0, n_valid=16, chunk_frames=16, exits=6)
        >>> [FixedPolicy(2).stop(exit, ExitStats(0, 1, 1, 1), chunk) for exit in (1, 2)]
        [False, True]
    """

    exit: int

    def __post_init__(self) -> None:
        if isinstance(self.exit, bool) or not isinstance(self.exit, int) or self.exit < 1:
            raise OptionError(f"exit={self.exit!r}: expected an integer from 1")

    def stop(self, exit: int, stats: ExitStats, chunk: ChunkInfo) -> bool:
        """Tells whether the depth is reached."""
        return exit >= self.exit

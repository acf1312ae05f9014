"""Policy: always the same depth."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asr.errors import OptionError
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Stops at one exit, whatever the stats.

    Attributes:
        exit: The exit, from 1.

    Raises:
        OptionError: If the exit is less than 1.
    """

    exit: int

    def __post_init__(self) -> None:
        if isinstance(self.exit, bool) or not isinstance(self.exit, int) or self.exit < 1:
            raise OptionError(f"exit={self.exit!r}: expected an integer from 1")

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Tells whether the depth is reached."""
        return view.exit >= self.exit

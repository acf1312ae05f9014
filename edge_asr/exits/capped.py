"""Policy: another policy with a limit on depth."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asr.errors import OptionError
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView


@dataclass(frozen=True, slots=True)
class CappedPolicy:
    """Stops where the other policy stops, at the limit at the latest.

    Attributes:
        policy: The other policy.
        exit: The deepest exit, from 1.

    Raises:
        OptionError: If the exit is less than 1.
    """

    policy: Policy
    exit: int

    def __post_init__(self) -> None:
        if isinstance(self.exit, bool) or not isinstance(self.exit, int) or self.exit < 1:
            raise OptionError(f"exit={self.exit!r}: expected an integer from 1")

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Decides."""
        return view.exit >= self.exit or self.policy.stop(view, chunk)

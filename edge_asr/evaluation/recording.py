"""What every exit says about an utterance, recorded in one pass: every policy's result is a gather of it.

A deep segment's result for a chunk does not depend on where other chunks left, so all exits can be run once
and any choice of exits can be looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.greedy import GreedyDecoder
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo, ExitStats


@dataclass(frozen=True, slots=True, eq=False)
class RecordedChunk:
    """One chunk with the results of all its exits.

    Args:
        info: which chunk of its piece it is.
        stats: mean stats of each exit.
        log_probs: (exits, n_valid, V) log-probabilities.
        ends_piece: whether the encoder starts anew after this chunk.
    """

    info: ChunkInfo
    stats: tuple[ExitStats, ...]
    log_probs: npt.NDArray[np.float32]
    ends_piece: bool = False

    def leave(self, policy: Policy) -> int:
        """The exit, from 1, at which a policy stops; it is asked as the runtime asks it."""
        for exit in range(1, len(self.stats)):
            if policy.stop(exit, self.stats[exit - 1], self.info):
                return exit
        return len(self.stats)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """An utterance's chunks in order, with the results of all exits.

    Args:
        utterance: what was recorded.
        seconds: its length.
        chunks: its chunks.
    """

    utterance: Utterance
    seconds: float
    chunks: tuple[RecordedChunk, ...]

    def leave(self, policy: Policy) -> tuple[int, ...]:
        """The exit at which each chunk leaves under a policy."""
        return tuple(chunk.leave(policy) for chunk in self.chunks)

    def text(self, exits: int | Sequence[int], tokens: TokenTable, blank: int = 0) -> str:
        """Decode a splice, greedily.

        Args:
            exits: the exit of every chunk, or one for all.
            tokens: the model's tokens.
            blank: id of the blank.

        Returns:
            The words, as the model spells them.

        Raises:
            OptionError: there is not one exit for each chunk.
        """
        taken = [exits] * len(self.chunks) if isinstance(exits, int) else list(exits)
        if len(taken) != len(self.chunks):
            raise OptionError(f"{len(taken)} exits for {len(self.chunks)} chunks; one for each is needed")
        decoder = GreedyDecoder(blank)
        ids: list[int] = []
        for chunk, exit in zip(self.chunks, taken, strict=True):
            ids.extend(token.id for token in decoder.push(chunk.log_probs[exit - 1]))
            if chunk.ends_piece:
                decoder.boundary()
        return tokens.text(ids)

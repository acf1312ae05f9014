"""Recordings made by hand: each exit says a text of our choosing, one word a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_asr.decoding.tokens import BLANK, WORD_START, TokenTable
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.recording import RecordedChunk, Recording
from edge_asr.exits.stats import ChunkInfo, ExitStats

WORDS = ("ONE", "TWO", "THREE", "FOUR", "FIVE")
TOKENS = TokenTable((BLANK, *(WORD_START + word for word in WORDS)))
FRAMES = 8


def chunk(index: int, words: Sequence[str], entropies: Sequence[float], piece: int = 0) -> RecordedChunk:
    """A chunk in which exit i says `words[i]` (or nothing) with mean entropy `entropies[i]`."""
    exits = len(words)
    log_probs = np.full((exits, FRAMES, len(TOKENS.pieces)), -20.0, dtype=np.float32)
    log_probs[:, :, 0] = 0.0
    for exit, word in enumerate(words):
        if word:
            log_probs[exit, 3, TOKENS.pieces.index(WORD_START + word)] = 1.0
    info = ChunkInfo(index, index * FRAMES, FRAMES, FRAMES, exits)
    stats = tuple(ExitStats(entropy, 1.0 - entropy / 10, 1.0 - entropy / 5, 0.5) for entropy in entropies)
    frames: Any = np.repeat(np.array(stats)[:, None], FRAMES, axis=1)  # float64, so that means are exact
    return RecordedChunk(info, frames, log_probs, piece)


def recording(name: str, text: str, chunks: Sequence[RecordedChunk]) -> Recording:
    """An utterance made of chunks."""
    return Recording(Utterance(name, Path(f"{name}.wav"), text), len(chunks) * FRAMES * 0.04, tuple(chunks))

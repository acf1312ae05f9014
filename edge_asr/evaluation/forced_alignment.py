"""Forced alignment: when each word of a known text was said, by the CTC posteriors of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.greedy import Token
from edge_asr.decoding.tokens import WORD_START
from edge_asr.errors import DataError

IMPOSSIBLE = -1e30


def force_align(log_probs: npt.NDArray[Any], pieces: Sequence[str], text: str, blank: int = 0) -> list[Token]:
    """Finds the likeliest CTC path (Viterbi) that spells a text, whatever the pieces that its words are cut into.

    Args:
        log_probs: (T, V) log-probabilities.
        pieces: the token table.
        text: words in the alphabet of the pieces.
        blank: id of blank.

    Returns:
        The path's tokens, each with the frame at which it begins; ``words_of`` makes words of them.

    Raises:
        DataError: the pieces can't spell the text, or the frames are too few for it.

    Example:
        >>> lp = np.log(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
        >>> [(token.id, token.frame) for token in force_align(lp, ["<blank>", "▁A", "B"], "AB")]
        [(1, 0), (2, 2)]
    """
    letters = "".join(WORD_START + word for word in text.split())
    if not letters:
        return []
    edges = _edges(letters, pieces, blank)
    first = np.array([edge[0] for edge in edges])
    last = np.array([edge[1] for edge in edges])
    ids = np.array([edge[2] for edge in edges])
    before = _predecessors(first, last, ids)
    blanks = len(letters) + 1  # one blank state for each place between letters, then a state for each edge
    states = blanks + len(edges)
    # What may come before: itself; for a blank, edges that end there; for an edge, the blank before it and other edges.
    into: list[list[int]] = [[place, *(blanks + np.flatnonzero(last == place)).tolist()] for place in range(blanks)]
    into += [[blanks + e, int(first[e]), *(blanks + p for p in before[e])] for e in range(len(edges))]
    width = max(map(len, into))
    sources = np.full((states, width), states)
    for state, found in enumerate(into):
        sources[state, : len(found)] = found
    emitted = np.concatenate([np.full(blanks, blank), ids])
    score = np.full(states + 1, IMPOSSIBLE)
    score[0] = 0.0
    came = np.zeros((len(log_probs), states), dtype=np.int32)
    for frame, row in enumerate(log_probs):
        options = score[sources]
        if frame == 0:  # nothing is before the first frame: only what can begin
            options[:, 1:] = np.where(sources[:, 1:] == 0, options[:, 1:], IMPOSSIBLE)
        best = options.argmax(axis=1)
        came[frame] = sources[np.arange(states), best]
        score[:states] = options[np.arange(states), best] + row[emitted]
    ends = [blanks - 1, *(blanks + np.flatnonzero(last == len(letters))).tolist()]
    state = max(ends, key=lambda s: float(score[s]))
    if score[state] <= IMPOSSIBLE / 2:
        raise DataError(f"{len(log_probs)} frames are too few for the text {text!r}")
    path = [state]
    for frame in range(len(log_probs) - 1, 0, -1):
        path.append(int(came[frame, path[-1]]))
    path.reverse()
    return [
        Token(int(ids[state - blanks]), frame, float(log_probs[frame, ids[state - blanks]]))
        for frame, state in enumerate(path)
        if state >= blanks and (frame == 0 or path[frame - 1] != state)
    ]


def _edges(letters: str, pieces: Sequence[str], blank: int) -> list[tuple[int, int, int]]:
    """Pieces and where they fit: (first letter, letter after the last, id), those only that lie on a way to the end."""
    table: dict[str, int] = {piece: number for number, piece in enumerate(pieces) if piece and number != blank}
    longest = max(map(len, table), default=0)
    to_end = [False] * len(letters) + [True]
    edges = []
    for start in range(len(letters) - 1, -1, -1):
        for end in range(start + 1, min(len(letters), start + longest) + 1):
            if to_end[end] and letters[start:end] in table:
                to_end[start] = True
                edges.append((start, end, table[letters[start:end]]))
    if not to_end[0]:
        raise DataError(f"the token table can't spell the text {letters.replace(WORD_START, ' ').strip()!r}")
    return edges[::-1]


def _predecessors(first: npt.NDArray[Any], last: npt.NDArray[Any], ids: npt.NDArray[Any]) -> list[list[int]]:
    """For each edge those that end where it begins, but for the same piece: CTC needs a blank between."""
    return [np.flatnonzero((last == first[e]) & (ids != ids[e])).tolist() for e in range(len(first))]

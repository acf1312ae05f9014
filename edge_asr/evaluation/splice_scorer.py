"""Word errors of splices, quickly: best tokens are taken once, and what was scored before is remembered.

A search instead of best tokens is slower; then only whole choices are scored by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.decoder import GREEDY, Decoder
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.wer import word_errors


class SpliceScorer:
    """Counts the word errors of any choice of exits; the texts are those of `Recording.text`.

    Args:
        recordings: utterances with all exits.
        tokens: the model's tokens.
        blank: id of the blank.
    """

    stride = 1
    """How many points of a path may be skipped at a time, to save texts."""

    def __init__(self, recordings: Sequence[Recording], tokens: TokenTable, blank: int = 0) -> None:
        self._recordings, self._tokens, self._blank = recordings, tokens, blank
        self._best = [[chunk.log_probs.argmax(axis=2) for chunk in recording.chunks] for recording in recordings]
        self._by_exits: dict[tuple[int, tuple[int, ...]], int] = {}
        self._by_text: dict[tuple[int, str], int] = {}
        self.words = np.array([word_errors(r.utterance.text, r.utterance.text).reference for r in recordings])
        """(U,) words in each reference."""

    def text(self, utterance: int, exits: Sequence[int]) -> str:
        """The greedy text of an utterance, one exit from 1 for each chunk.

        Raises:
            OptionError: there is not one exit for each chunk.
        """
        chunks, best = self._recordings[utterance].chunks, self._best[utterance]
        if len(exits) != len(chunks):
            raise OptionError(f"{len(exits)} exits for {len(chunks)} chunks; one for each is needed")
        words: list[str] = []
        start = 0
        for end in range(1, len(chunks) + 1):
            if end == len(chunks) or chunks[end].piece != chunks[start].piece:
                path = np.concatenate([best[k][exits[k] - 1] for k in range(start, end)])
                begins = np.concatenate([[True], path[1:] != path[:-1]]) & (path != self._blank)
                words += self._tokens.text(path[begins].tolist()).split()
                start = end
        return " ".join(words)

    def errors(self, utterance: int, exits: Sequence[int]) -> int:
        """Word errors of an utterance."""
        key = (utterance, tuple(exits))
        if key not in self._by_exits:
            text = self.text(utterance, key[1])
            if (utterance, text) not in self._by_text:
                reference = self._recordings[utterance].utterance.text
                self._by_text[utterance, text] = word_errors(reference, text).errors
            self._by_exits[key] = self._by_text[utterance, text]
        return self._by_exits[key]

    def harm(self, utterance: int) -> npt.NDArray[np.int64]:
        """How many more word errors each exit of each chunk brings if all other chunks go to the last exit.

        Returns:
            (chunks, exits); 0 at the last exit, below 0 where an early exit is better.
        """
        chunks = self._recordings[utterance].chunks
        exits = len(chunks[0].log_probs) if chunks else 0
        deep = [exits] * len(chunks)
        base = self.errors(utterance, deep)
        harm = np.zeros((len(chunks), exits), dtype=np.int64)
        for k in range(len(chunks)):
            for exit in range(1, exits):
                harm[k, exit - 1] = self.errors(utterance, [*deep[:k], exit, *deep[k + 1 :]]) - base
        return harm


class SearchScorer(SpliceScorer):
    """Counts the word errors that a decoder leaves; `harm`, which is asked for each exit of each chunk, stays greedy.

    Args:
        recordings: utterances with all exits.
        tokens: the model's tokens.
        blank: id of the blank.
        decoder: makes text of log-probabilities.
    """

    stride = 4

    def __init__(
        self, recordings: Sequence[Recording], tokens: TokenTable, blank: int = 0, *, decoder: Decoder
    ) -> None:
        super().__init__(recordings, tokens, blank)
        self._greedy = SpliceScorer(recordings, tokens, blank)
        self._decoder = decoder

    def text(self, utterance: int, exits: Sequence[int]) -> str:
        """The decoder's text; see `SpliceScorer.text`."""
        return self._recordings[utterance].decode(exits, self._decoder.start()).text

    def harm(self, utterance: int) -> npt.NDArray[np.int64]:
        """See `SpliceScorer.harm`: of greedy texts."""
        return self._greedy.harm(utterance)


def scorer(recordings: Sequence[Recording], tokens: TokenTable, blank: int, decoder: Decoder) -> SpliceScorer:
    """The scorer for a decoder."""
    if decoder.name == GREEDY:
        return SpliceScorer(recordings, tokens, blank)
    return SearchScorer(recordings, tokens, blank, decoder=decoder)

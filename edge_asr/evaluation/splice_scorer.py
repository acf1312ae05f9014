"""Word errors of splices, quickly: best tokens are taken once, and what was scored before is remembered.

A search instead of best tokens is slower; then only whole choices are scored by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.decoder import GREEDY, Decoder
from edge_asr.decoding.lexicon import Way
from edge_asr.decoding.text import normalise
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.wer import edits, word_errors


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
        return _alone(self._recordings[utterance], lambda exits: self.errors(utterance, exits))


def _alone(recording: Recording, errors: Callable[[Sequence[int]], int]) -> npt.NDArray[np.int64]:
    """What each exit of each chunk adds to the errors if all other chunks go to the last exit, (chunks, exits)."""
    chunks = recording.chunks
    exits = len(chunks[0].log_probs) if chunks else 0
    deep = [exits] * len(chunks)
    base = errors(deep)
    harm = np.zeros((len(chunks), exits), dtype=np.int64)
    for k in range(len(chunks)):
        for exit in range(1, exits):
            harm[k, exit - 1] = errors([*deep[:k], exit, *deep[k + 1 :]]) - base
    return harm


class SearchScorer(SpliceScorer):
    """Counts the word errors that a decoder leaves.

    `harm` is asked for each exit of each chunk, which is too much for a search: it is counted on what the search reads,
    in best phones against the dictionary's where that is phones, else in words of greedy texts.

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
        self._ways: dict[str, Way] = {}

    def text(self, utterance: int, exits: Sequence[int]) -> str:
        """The decoder's text; see `SpliceScorer.text`."""
        return self._recordings[utterance].decode(exits, self._decoder.start()).text

    def harm(self, utterance: int) -> npt.NDArray[np.int64]:
        """See `SpliceScorer.harm`: of phones, or of greedy texts."""
        recording = self._recordings[utterance]
        if not self._decoder.phones or any(chunk.phones is None for chunk in recording.chunks):
            return self._greedy.harm(utterance)
        reference = [phone for word in normalise(recording.utterance.text).split() for phone in self._said(word)]
        best = [np.argmax(chunk.phones, axis=2) for chunk in recording.chunks if chunk.phones is not None]

        def errors(exits: Sequence[int]) -> int:
            parts: list[npt.NDArray[np.int64]] = []
            for k, exit in enumerate(exits):
                if k and recording.chunks[k].piece != recording.chunks[k - 1].piece:
                    parts.append(np.zeros(1, dtype=np.int64))  # a blank: no phone goes on from one piece to the next
                parts.append(best[k][exit - 1])
            path = np.concatenate([np.zeros(1, dtype=np.int64), *parts])
            return edits(reference, path[1:][(path[1:] != path[:-1]) & (path[1:] != 0)].tolist())

        return _alone(recording, errors)

    def _said(self, word: str) -> Way:
        if word not in self._ways:
            self._ways[word] = self._decoder.said(word)
        return self._ways[word]


def scorer(recordings: Sequence[Recording], tokens: TokenTable, blank: int, decoder: Decoder) -> SpliceScorer:
    """The scorer for a decoder."""
    if decoder.name == GREEDY:
        return SpliceScorer(recordings, tokens, blank)
    return SearchScorer(recordings, tokens, blank, decoder=decoder)

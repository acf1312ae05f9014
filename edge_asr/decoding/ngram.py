"""A back-off n-gram language model over words, read from one memory-mapped file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.lexicon import SPECIALS, LetterTrie, PhoneTrie
from edge_asr.decoding.lm_file import LmFile

FORMAT = "edge-asr-lm"
UNKNOWN, BEGIN, END = 0, 1, 2
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")
MAX_ORDER = 6
MIN_BACKOFF_BITS = 4

State = tuple[int, ...]
"""What a model remembers: for each k, the entry of the last k words among the k-grams, or -1."""


class NgramModel:
    """Word probabilities, log to base 10 as in ARPA files.

    Args:
        file: A language-model file; see docs/lm-format.md.

    Attributes:
        file: The file.
        order: n.
        words: How many there are, the special ones included; ids are below.
        trie: The words' spellings; gives the word ids.
        phones: The words' pronunciations; None if the file has none.
        begin: The state at the beginning of a sentence.

    Raises:
        LanguageModelError: If the file's arrays contradict each other.

    Example:
        >>> lm = NgramModel.load("en.lm")  # doctest: +SKIP
        >>> score, state = lm.score(lm.begin, lm.word_id("THE"))  # doctest: +SKIP
    """

    def __init__(self, file: LmFile) -> None:
        self.file = file
        if file.header.get("format") != FORMAT:
            file.fail("format", f"is {file.header.get('format')!r}, expected {FORMAT!r}")
        self.order = order = file.integer("order", 1, MAX_ORDER)
        self.trie = LetterTrie.of(file)
        self._nodes = np.flatnonzero(self.trie.ends)
        self._spelled: dict[int, str] = {}
        self.words = words = len(self._nodes) + SPECIALS
        if file.integer("words", SPECIALS, 1 << 24) != words:
            file.fail("words", f"is {file.header['words']}, but the trie holds {words}")
        self._shift = 32 - max(1, (words - 1).bit_length())
        self._prob_bits = min(8, self._shift - MIN_BACKOFF_BITS)
        self._low_bits = (1 << self._prob_bits) - 1
        self._backoff_mask = (1 << (self._shift - self._prob_bits)) - 1
        unigrams = _finite(file, "probs_1", words)
        self.phones = PhoneTrie.of(file, unigrams)
        self._probs = unigrams.data
        self._backoffs = _finite(file, "backoffs_1", words).data
        self._prob_levels = {k: _levels(file, f"prob_levels_{k}") for k in range(2, order + 1)}
        self._backoff_levels = {k: _levels(file, f"backoff_levels_{k}") for k in range(2, order)}
        self._entries: list[memoryview] = []  # of orders 2 …
        self._bases: list[memoryview] = []  # children of orders 1 … n - 1
        self._offsets: list[memoryview] = []
        self._block = file.integer("block", 1, 1 << 16)
        size = words
        for k in range(2, order + 1):
            entries = file.array(f"entries_{k}", "u32")
            self._check_children(k - 1, size, len(entries))
            self._check_entries(k, entries, words)
            self._entries.append(entries.data)
            size = len(entries)
        self.begin: State = (BEGIN, *(-1 for _ in range(order - 2))) if order > 1 else ()

    @classmethod
    def load(cls, path: str | Path) -> NgramModel:
        """Maps and checks a file.

        Raises:
            LanguageModelError: If it isn't a sound language-model file.
        """
        return cls(LmFile.open(path))

    def word_id(self, word: str) -> int:
        """Gives a word's id, that of ``<unk>`` if the model lacks it."""
        node = self.trie.walk(word)
        return max(UNKNOWN, int(self.trie.word[node])) if node >= 0 else UNKNOWN

    def spelling(self, word: int) -> str:
        """Gives a word's letters.

        Args:
            word: Its id, below ``words``.

        Example:
            >>> lm = NgramModel.load("en.lm")  # doctest: +SKIP
            >>> lm.spelling(lm.word_id("THE"))  # doctest: +SKIP
            'THE'
        """
        if word < SPECIALS:
            return SPECIAL_WORDS[word]
        found = self._spelled.get(word)
        if found is None:
            found = self._spelled[word] = self.trie.spelling(int(self._nodes[word - SPECIALS]))
        return found

    def score(self, state: State, word: int) -> tuple[float, State]:
        """Scores a word.

        Args:
            state: The state before it.
            word: Its id.

        Returns:
            The log10 probability, and the state after it.
        """
        prob: float | None = None
        missed = 0.0  # back-offs of the contexts in which the word wasn't seen
        following = [word]
        for k in range(len(state), 0, -1):  # contexts of k words, longest first
            context = state[k - 1]
            if context < 0:
                found = -1
            else:
                found = self._find(k, context, word)
                if prob is None:
                    if found >= 0:
                        prob = self._prob_levels[k + 1][self._entries[k - 1][found] & self._low_bits]
                    else:
                        missed += self._backoff(k, context)
            if k < self.order - 1:
                following.append(found)
        if prob is None:
            prob = self._probs[word]
        return prob + missed, (following[0], *reversed(following[1:])) if self.order > 1 else ()

    def score_words(self, words: Sequence[str], *, begin: bool = True, end: bool = True) -> float:
        """Scores a sentence, in log10.

        Example:
            >>> NgramModel.load("en.lm").score_words(["THE", "SEA"])  # doctest: +SKIP
        """
        state, total = self.begin if begin else (-1,) * (self.order - 1), 0.0
        for word in (*map(self.word_id, words), *((END,) if end else ())):
            score, state = self.score(state, word)
            total += score
        return total

    def unigrams(self) -> npt.NDArray[np.float32]:
        """Gives the log10 probability of each word without context, (words,)."""
        return self.file.array("probs_1", "f32")

    def _find(self, order: int, context: int, word: int) -> int:
        """Finds the entry of order + 1 that goes on from a context of ``order`` words."""
        bases, offsets, entries = self._bases[order - 1], self._offsets[order - 1], self._entries[order - 1]
        low = bases[context // self._block] + offsets[context]
        high = bases[(context + 1) // self._block] + offsets[context + 1]
        place = bisect_left(entries, word << self._shift, low, high)
        return place if place < high and entries[place] >> self._shift == word else -1

    def _backoff(self, order: int, context: int) -> float:
        if order == 1:
            return self._backoffs[context]
        code = self._entries[order - 2][context] >> self._prob_bits & self._backoff_mask
        return self._backoff_levels[order][code]

    def _check_children(self, order: int, size: int, children: int) -> None:
        """Checks that each entry's children are a stretch of the next order, in order and all."""
        blocks = size // self._block + 1
        bases = self.file.array(f"child_bases_{order}", "u32", blocks)
        offsets = self.file.array(f"child_offsets_{order}", "u16", size + 1)
        starts = np.repeat(bases.astype(np.int64), self._block)[: size + 1] + offsets
        if starts[0] != 0 or starts[-1] != children or (np.diff(starts) < 0).any():
            self.file.fail(f"child_offsets_{order}", f"doesn't cut entries_{order + 1} into stretches that follow")
        self._bases.append(bases.data)
        self._offsets.append(offsets.data)

    def _check_entries(self, order: int, entries: npt.NDArray[np.uint32], words: int) -> None:
        if not len(entries):
            return
        name = f"entries_{order}"
        if int(entries.max()) >> self._shift >= words:
            self.file.fail(name, "names a word that the trie lacks")
        if int((entries & np.uint32((1 << self._prob_bits) - 1)).max()) >= len(self._prob_levels[order]):
            self.file.fail(name, f"has a level beyond prob_levels_{order}")
        if order < self.order:
            mask = np.uint32((1 << (self._shift - self._prob_bits)) - 1)
            if int(((entries >> np.uint32(self._prob_bits)) & mask).max()) >= len(self._backoff_levels[order]):
                self.file.fail(name, f"has a level beyond backoff_levels_{order}")


def _levels(file: LmFile, name: str) -> list[float]:
    levels = file.array(name, "f32")
    if not 1 <= len(levels) <= 256 or not np.isfinite(levels).all():
        file.fail(name, "isn't 1 to 256 finite numbers")
    return [float(level) for level in levels]


def _finite(file: LmFile, name: str, length: int) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = file.array(name, "f32", length)
    if not np.isfinite(values).all():
        file.fail(name, "holds NaN or infinity")
    return values

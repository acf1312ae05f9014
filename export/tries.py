"""Tries of words as the language-model file holds them: nodes in breadth-first order, children sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.lexicon import SPECIALS, TERMINAL
from edge_asr.decoding.ngram import SPECIAL_WORDS
from edge_asr.errors import DataError

MOST = 255
"""Words that one pronunciation may have."""

Bytes = npt.NDArray[np.uint8]


def breadth_first(ways: Sequence[bytes]) -> tuple[Bytes, Bytes, list[int]]:
    """Builds a trie.

    Args:
        ways: Labels from the root to each end; sorted, each once.

    Returns:
        The nodes' labels (0 for the root); their counts, with bit 7 where a way ends; and the places of ``ways``
        in the order of the nodes at which they end.

    Raises:
        DataError: If a node has more children than fit.

    Example:
        >>> labels, counts, order = breadth_first([b"A", b"AB", b"B"])
        >>> labels.tobytes(), counts.tolist(), order
        (b'\\x00ABB', [2, 129, 128, 128], [0, 2, 1])
    """
    labels, counts, order = bytearray([0]), bytearray(), list[int]()
    level, depth = [(0, len(ways))], 0
    while level:
        following = []
        for low, high in level:
            ends = 0
            if low < high and len(ways[low]) == depth:
                order.append(low)
                low, ends = low + 1, TERMINAL
            children = 0
            while low < high:
                label, first = ways[low][depth], low
                while low < high and ways[low][depth] == label:
                    low += 1
                labels.append(label)
                following.append((first, low))
                children += 1
            if children >= TERMINAL:
                raise DataError(f"more than {TERMINAL - 1} ways go on from one beginning of words")
            counts.append(children | ends)
        level, depth = following, depth + 1
    return np.frombuffer(bytes(labels), np.uint8), np.frombuffer(bytes(counts), np.uint8), order


def in_capitals(vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Gives words in capitals, as models spell them; ``<unk>``, ``<s>`` and ``</s>`` stay.

    Raises:
        DataError: If two words are the same then.

    Example:
        >>> in_capitals(["<s>", "the", "Sea"])
        ('<s>', 'THE', 'SEA')
    """
    before: dict[str, str] = {}
    for word in vocabulary:
        capitals = word if word in SPECIAL_WORDS else word.upper()
        if capitals in before:
            raise DataError(
                f"the words {before[capitals]!r} and {word!r} are both {capitals!r} in capitals, as models spell; "
                "count the n-grams once more, on a text in capitals"
            )
        before[capitals] = word
    return tuple(before)


def build_trie(vocabulary: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], Bytes, Bytes]:
    """Builds the letter trie.

    Args:
        vocabulary: Words, ``<unk>``, ``<s>`` and ``</s>`` among them.

    Returns:
        Each word's id, and the trie's letters and counts.

    Raises:
        DataError: For a word with characters beyond Latin-1.
    """
    place = {word: index for index, word in enumerate(vocabulary)}
    plain = sorted(word for word in vocabulary if word not in SPECIAL_WORDS)
    bad = next((word for word in plain if any(ord(char) > 255 for char in word)), None)
    if bad is not None:
        raise DataError(f"the word {bad!r} has a character beyond Latin-1, which the format can't hold")
    letters, counts, order = breadth_first([word.encode("latin-1") for word in plain])
    ids = np.zeros(len(vocabulary), dtype=np.int64)
    for number, name in enumerate(SPECIAL_WORDS):
        if name in place:
            ids[place[name]] = number
    ids[[place[plain[index]] for index in order]] = np.arange(SPECIALS, SPECIALS + len(order))
    return ids, letters, counts


def phone_arrays(
    ways: Mapping[int, Sequence[Sequence[int]]], unigrams: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[Any]]:
    """Builds the trie of pronunciations.

    Args:
        ways: Word id → the ways to say the word, as ids of phones.
        unigrams: (words,) log10 probability of each word.

    Returns:
        The language-model file's arrays of pronunciations.

    Raises:
        DataError: If more than 255 words are said alike.
    """
    words: dict[bytes, list[int]] = {}
    for word in sorted(ways, key=lambda word: (-unigrams[word], word)):
        for way in {bytes(way) for way in ways[word]}:
            words.setdefault(way, []).append(word)
    plain = sorted(words)
    tokens, counts, order = breadth_first(plain)
    ending = [words[plain[index]] for index in order]
    if max(map(len, ending), default=0) > MOST:
        raise DataError(f"more than {MOST} words are said alike, which the format can't hold")
    return {
        "phone_tokens": tokens,
        "phone_counts": counts,
        "phone_homophones": np.array([len(group) for group in ending], dtype=np.uint8),
        "phone_words": np.array([word for group in ending for word in group], dtype=np.uint32),
    }

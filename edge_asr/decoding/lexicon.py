"""The lexicon: a letter trie of the language model's words, walked piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.lm_file import LmFile
from edge_asr.decoding.tokens import WORD_START

OFF = -1
"""The node of spellings that no word begins with."""
ROOT = 0
TERMINAL = 0x80
SPECIALS = 3
"""Word ids 0, 1, 2 are ``<unk>``, ``<s>``, ``</s>``; the words follow in the order of their trie nodes."""

Ints = npt.NDArray[np.int64]


class LetterTrie:
    """Spellings as nodes in breadth-first order: a node's children are neighbours, sorted by letter.

    Any way to cut a word into pieces leads to the same node, so one lexicon serves every token table.

    Args:
        letters: (nodes,) uint8, the code point of the letter that leads to a node (0 for the root).
        counts: (nodes,) uint8, the number of children in the low seven bits, bit 7 set where a word ends.

    Attributes:
        word: (nodes,) int64 word id of the word that ends at a node, or -1.
    """

    def __init__(self, letters: npt.NDArray[np.uint8], counts: npt.NDArray[np.uint8]) -> None:
        self.letters = letters
        children = (counts & (TERMINAL - 1)).astype(np.int64)
        self.first = np.concatenate([[1], 1 + np.cumsum(children)])  # children of n: first[n] … first[n + 1]
        ends = (counts & TERMINAL) != 0
        self.word = np.where(ends, np.cumsum(ends) - 1 + SPECIALS, -1)
        self.parent = np.repeat(np.arange(len(letters)), children)  # of the nodes from 1

    @classmethod
    def of(cls, file: LmFile) -> LetterTrie:
        """Reads and checks the trie of a language-model file."""
        letters, counts = file.array("trie_letters", "u8"), file.array("trie_counts", "u8")
        if len(counts) != len(letters) or not len(letters):
            file.fail("trie_counts", f"has {len(counts)} entries, expected as many as trie_letters, {len(letters)}")
        children = counts & (TERMINAL - 1)
        if int(children.sum(dtype=np.int64)) + 1 != len(letters):
            file.fail("trie_counts", f"says {int(children.sum(dtype=np.int64))} children, expected {len(letters) - 1}")
        # Children come after their parent, so that no walk goes in a circle.
        if (np.cumsum(children, dtype=np.int64)[:-1] < np.arange(1, len(letters))).any():
            file.fail("trie_counts", "has a node before its parent")
        trie = cls(letters, counts)
        same = trie.parent[1:] == trie.parent[:-1]
        if (same & (letters[2:] <= letters[1:-1])).any():
            file.fail("trie_letters", "has children that aren't sorted")
        return trie

    def __len__(self) -> int:
        return len(self.letters)

    def walk(self, text: str, node: int = ROOT) -> int:
        """Gives the node that a text leads to, or `OFF`."""
        for char in text:
            low, high = int(self.first[node]), int(self.first[node + 1])
            place = low + int(np.searchsorted(self.letters[low:high], min(ord(char), 255)))
            if place == high or self.letters[place] != ord(char):
                return OFF
            node = place
        return node

    def spelling(self, node: int) -> str:
        """Gives the letters on the way to a node."""
        letters = []
        while node != ROOT:
            letters.append(chr(int(self.letters[node])))
            node = int(self.parent[node - 1])
        return "".join(reversed(letters))


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """A letter trie seen through a token table: which piece leads from which node to which.

    Attributes:
        start: (V,) node that a piece which starts a word leads to, or `OFF`.
        word: (nodes + 1,) word id that ends at a node, or -1; the last row is that of `OFF`.
        size: Tokens, V.
        keys: Sorted ``node * V + token`` of all edges, uint32 or int64.
        targets: The node that each edge leads to.
    """

    start: Ints
    word: Ints
    size: int
    keys: npt.NDArray[Any]
    targets: Ints

    @classmethod
    def build(cls, trie: LetterTrie, pieces: tuple[str, ...], blank: int = 0) -> Lexicon:
        """Finds all edges, for all pieces of one length at a time.

        Args:
            trie: The words.
            pieces: The token table's pieces.
            blank: Id of the blank, which leads nowhere.
        """
        start = np.full(len(pieces), OFF, dtype=np.int64)
        by_length: dict[int, list[tuple[str, int]]] = {}
        for token, piece in enumerate(pieces):
            if token == blank:
                continue
            if piece.startswith(WORD_START):
                start[token] = trie.walk(piece[1:]) if WORD_START not in piece[1:] else OFF
            elif all(ord(char) < 256 for char in piece) and WORD_START not in piece:
                by_length.setdefault(len(piece), []).append((piece, token))
        parent = np.concatenate([[ROOT], trie.parent])
        # One edge that leads nowhere, so that there is always one to compare with.
        keys, targets = [np.full(1, blank)], [np.full(1, OFF)]
        for length, group in sorted(by_length.items()):
            ends = np.arange(1, len(trie))
            spelled = np.zeros(len(ends), dtype=np.uint64)
            origin = ends
            for place in range(length):
                alive = origin != ROOT
                ends, spelled, origin = ends[alive], spelled[alive], origin[alive]
                spelled = spelled + trie.letters[origin] * np.uint64(_weight(place))
                origin = parent[origin]
            for piece, token in group:
                found = spelled == np.uint64(_code(piece))
                keys.append(origin[found] * len(pieces) + token)
                targets.append(ends[found])
        key, target = np.concatenate(keys), np.concatenate(targets)
        order = np.argsort(key)
        small = len(trie) * len(pieces) < 1 << 32
        word = np.concatenate([trie.word, [-1]])
        return cls(start, word, len(pieces), key[order].astype(np.uint32 if small else np.int64), target[order])

    @classmethod
    def empty(cls, pieces: tuple[str, ...]) -> Lexicon:
        """Gives the lexicon without words: every spelling is off it."""
        start = np.array([ROOT if piece == WORD_START else OFF for piece in pieces], dtype=np.int64)
        return cls(start, np.full(2, -1), len(pieces), np.zeros(1, dtype=np.int64), np.full(1, OFF))

    def step(self, nodes: Ints, tokens: Ints) -> Ints:
        """Follows pieces that go on with a word.

        Args:
            nodes: (N, 1) or (N,) nodes, or `OFF`.
            tokens: (K,) or (N,) tokens, broadcast against the nodes.

        Returns:
            The nodes they lead to, or `OFF`.
        """
        wanted = np.maximum(nodes, 0) * self.size + tokens
        place = self.keys.searchsorted(wanted.astype(self.keys.dtype))
        place = np.minimum(place, len(self.keys) - 1)
        return np.where((self.keys[place] == wanted) & (nodes >= 0), self.targets[place], OFF)


def _weight(place: int) -> int:
    """What a letter counts, ``place`` letters before the end; sums are taken modulo 2**64."""
    return pow(0x9E3779B97F4A7C15, place + 1, 1 << 64)


def _code(piece: str) -> int:
    """The letters of a piece as one number."""
    return sum(ord(char) * _weight(place) for place, char in enumerate(reversed(piece))) % (1 << 64)

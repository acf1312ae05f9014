"""The lexicon: tries of the language model's words, by letters and by phones, walked token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.lm_file import LmFile
from edge_asr.decoding.tokens import WORD_START

OFF = -1
"""The node of spellings that no word begins with."""
ROOT = 0
TERMINAL = 0x80
NOTHING = -99.0
"""The log10 probability of no word."""
SPECIALS = 3
"""Word ids 0, 1, 2 are ``<unk>``, ``<s>``, ``</s>``; the words follow in the order of their trie nodes."""

Ints = npt.NDArray[np.int64]
Way = tuple[int, ...]
"""A pronunciation, as ids of phones."""


class Trie:
    """Nodes in breadth-first order, node 0 the root: a node's children are neighbours, sorted by label.

    Args:
        labels: (nodes,) uint8, what leads to a node (0 for the root).
        counts: (nodes,) uint8, the number of children in the low seven bits, bit 7 set where a word ends.

    Attributes:
        first: (nodes + 1,) int64; the children of node n are ``first[n]`` to ``first[n + 1] - 1``.
        parent: (nodes - 1,) int64 parents of the nodes from 1 on.
        ends: (nodes,) bool, whether a word ends at a node.
        word: (nodes,) int64 id of the (likeliest) word that ends at a node, or -1.
    """

    word: Ints

    def __init__(self, labels: npt.NDArray[np.uint8], counts: npt.NDArray[np.uint8]) -> None:
        self.labels = labels
        children = (counts & (TERMINAL - 1)).astype(np.int64)
        self.first = np.concatenate([[1], 1 + np.cumsum(children)])
        self.parent = np.repeat(np.arange(len(labels)), children)
        self.ends = (counts & TERMINAL) != 0

    def __len__(self) -> int:
        return len(self.labels)


class LetterTrie(Trie):
    """Spellings: the labels are letters' code points, and word ids follow the nodes.

    Any way to cut a word into pieces leads to the same node, so one lexicon serves every token table.
    """

    def __init__(self, labels: npt.NDArray[np.uint8], counts: npt.NDArray[np.uint8]) -> None:
        super().__init__(labels, counts)
        self.word = np.where(self.ends, np.cumsum(self.ends) - 1 + SPECIALS, -1)

    @classmethod
    def of(cls, file: LmFile) -> LetterTrie:
        """Reads and checks the trie of a language-model file."""
        return cls(*_trie_arrays(file, "trie_letters", "trie_counts"))

    def walk(self, text: str, node: int = ROOT) -> int:
        """Gives the node that a text leads to, or `OFF`."""
        for char in text:
            low, high = int(self.first[node]), int(self.first[node + 1])
            place = low + int(np.searchsorted(self.labels[low:high], min(ord(char), 255)))
            if place == high or self.labels[place] != ord(char):
                return OFF
            node = place
        return node

    def spelling(self, node: int) -> str:
        """Gives the letters on the way to a node."""
        letters = []
        while node != ROOT:
            letters.append(chr(int(self.labels[node])))
            node = int(self.parent[node - 1])
        return "".join(reversed(letters))


class PhoneTrie(Trie):
    """Pronunciations: the labels are tokens of a table of phones, and several words may end at a node.

    Args:
        names: The phones' names in order of id, the blank first.
        tokens: (nodes,) uint8 ids of the phones.
        counts: As for `Trie`.
        homophones: (ends,) uint8, how many words end at each node where one does.
        words: Their ids, node after node, a node's likeliest word first.

    Attributes:
        names: The same.
        others: node → its words but the likeliest, where several words end.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        tokens: npt.NDArray[np.uint8],
        counts: npt.NDArray[np.uint8],
        homophones: npt.NDArray[np.uint8],
        words: npt.NDArray[np.uint32],
    ) -> None:
        super().__init__(tokens, counts)
        self.names = names
        after = np.cumsum(homophones, dtype=np.int64)
        before = after - homophones
        nodes = np.flatnonzero(self.ends)
        self.word = np.full(len(tokens), -1, dtype=np.int64)
        self.word[nodes] = words[before]
        several = homophones > 1
        rows = zip(nodes[several].tolist(), (before[several] + 1).tolist(), after[several].tolist(), strict=True)
        all_words = words.tolist()
        self.others = {node: tuple(all_words[low:high]) for node, low, high in rows}

    def say(self, word: int) -> list[Way]:
        """Gives a word's pronunciations as ids of phones; none if it has none."""
        nodes = [*np.flatnonzero(self.word == word).tolist(), *(n for n, words in self.others.items() if word in words)]
        return [self._way(node) for node in nodes]

    def pronunciations(self) -> dict[int, list[Way]]:
        """Gives those of all words, by the word's id; several of a word in the order of the phones' ids."""
        ways: dict[int, list[Way]] = {}
        for node in np.flatnonzero(self.ends).tolist():
            for word in (int(self.word[node]), *self.others.get(node, ())):
                ways.setdefault(word, []).append(self._way(node))
        return {word: sorted(ways[word]) for word in sorted(ways)}

    def _way(self, node: int) -> Way:
        phones = []
        while node != ROOT:
            phones.append(int(self.labels[node]))
            node = int(self.parent[node - 1])
        return tuple(reversed(phones))

    @classmethod
    def of(cls, file: LmFile, unigrams: npt.NDArray[np.float32]) -> PhoneTrie | None:
        """Reads and checks the pronunciations of a language-model file; None if it has none.

        Args:
            file: The file.
            unigrams: (words,) log10 probabilities, by which each node's words are sorted.
        """
        if "phones" not in file.header:
            return None
        names = file.header["phones"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            file.fail("phones", "isn't a list of names")
        if len(set(names)) != len(names) or len(names) > 256:
            file.fail("phones", f"names {len(names)} phones, expected at most 256, each once")
        tokens, counts = _trie_arrays(file, "phone_tokens", "phone_counts")
        if len(tokens) > 1 and not 0 < int(tokens[1:].min()) <= int(tokens[1:].max()) < len(names):
            file.fail("phone_tokens", f"leaves 1 to {len(names) - 1}, the ids of the phones")
        homophones = file.array("phone_homophones", "u8", int(np.count_nonzero(counts & TERMINAL)))
        if not homophones.all():
            file.fail("phone_homophones", "says that no word ends where one does")
        words = file.array("phone_words", "u32", int(homophones.sum(dtype=np.int64)))
        if len(words) and not SPECIALS <= int(words.min()) <= int(words.max()) < len(unigrams):
            file.fail("phone_words", f"leaves {SPECIALS} to {len(unigrams) - 1}, the ids of the words")
        same = np.ones(len(words), dtype=bool)  # whether a word ends at the node of the one before it
        same[np.cumsum(homophones, dtype=np.int64)[:-1]] = False
        if (same[1:] & (unigrams[words[1:]] > unigrams[words[:-1]])).any():
            file.fail("phone_words", "has words at one node that aren't sorted by probability")
        return cls(tuple(names), tokens, counts, homophones, words)


def _trie_arrays(file: LmFile, labels_name: str, counts_name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Reads a trie's labels and counts, and checks that they are those of a `Trie`."""
    labels, counts = file.array(labels_name, "u8"), file.array(counts_name, "u8")
    if len(counts) != len(labels) or not len(labels):
        file.fail(counts_name, f"has {len(counts)} entries, expected as many as {labels_name}, {len(labels)}")
    children = (counts & (TERMINAL - 1)).astype(np.int64)
    if int(children.sum()) + 1 != len(labels):
        file.fail(counts_name, f"says {int(children.sum())} children, expected {len(labels) - 1}")
    # Children come after their parent, so that no walk goes in a circle.
    if (np.cumsum(children)[:-1] < np.arange(1, len(labels))).any():
        file.fail(counts_name, "has a node before its parent")
    parent = np.repeat(np.arange(len(labels)), children)
    if ((parent[1:] == parent[:-1]) & (labels[2:] <= labels[1:-1])).any():
        file.fail(labels_name, "has children that aren't sorted")
    return labels, counts


def best_through(trie: Trie, unigrams: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Gives, for each node, the log10 probability of the likeliest word whose way goes through it.

    Args:
        trie: Spellings or pronunciations.
        unigrams: (words,) log10 probabilities, `NgramModel.unigrams`.

    Returns:
        (nodes + 1,); -99 where there is no word, 0 in the last row, that of `OFF`.
    """
    best = np.where(trie.ends, unigrams[trie.word], NOTHING).astype(np.float64)
    levels, low, high = [], 0, 1
    while low < high:
        levels.append((low, high))
        low, high = int(trie.first[low]), int(trie.first[high])
    for low, high in reversed(levels[:-1]):
        first = trie.first[low : high + 1]
        inner = np.flatnonzero(first[1:] > first[:-1])
        below = np.maximum.reduceat(best[first[0] : first[-1]], first[inner] - first[0])
        best[low + inner] = np.maximum(best[low + inner], below)
    return np.append(best, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """A trie seen through a token table: which piece, or phone, leads from which node to which.

    Attributes:
        start: (V,) node that a token which starts a word leads to, or `OFF`.
        word: (nodes + 1,) id of the likeliest word that ends at a node, or -1; the last row is that of `OFF`.
        size: Tokens, V.
        keys: Sorted ``node * V + token`` of all edges, uint32 or int64.
        targets: The node that each edge leads to.
        others: node → further words that end there, the likelier ones first; pronunciations alone have such nodes.
    """

    start: Ints
    word: Ints
    size: int
    keys: npt.NDArray[Any]
    targets: Ints
    others: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

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
                spelled = spelled + trie.labels[origin] * np.uint64(_weight(place))
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
    def of_phones(cls, trie: PhoneTrie) -> Lexicon:
        """Gives the lexicon of pronunciations: tokens whose name begins with ``▁`` start words, and only they do."""
        size = len(trie.names)
        tokens, words = trie.labels.astype(np.int64), int(trie.first[1])  # nodes up to there: the root, its children
        start = np.full(size, OFF, dtype=np.int64)
        start[tokens[1:words]] = np.arange(1, words)
        start[[not name.startswith(WORD_START) for name in trie.names]] = OFF
        # One edge that leads nowhere, as in `build`; the others are sorted as the nodes are.
        keys = np.concatenate([[0], trie.parent[words - 1 :] * size + tokens[words:]])
        targets = np.concatenate([[OFF], np.arange(words, len(trie))])
        small = len(trie) * size < 1 << 32
        word = np.concatenate([trie.word, [-1]])
        return cls(start, word, size, keys.astype(np.uint32 if small else np.int64), targets, trie.others)

    @classmethod
    def empty(cls, pieces: tuple[str, ...]) -> Lexicon:
        """Gives the lexicon without words: every spelling is off it."""
        start = np.array([ROOT if piece == WORD_START else OFF for piece in pieces], dtype=np.int64)
        return cls(start, np.full(2, -1), len(pieces), np.zeros(1, dtype=np.int64), np.full(1, OFF))

    def grown(
        self, words: Mapping[int, Sequence[Way]], ahead: npt.NDArray[np.float64], likely: Mapping[int, float]
    ) -> tuple[Lexicon, npt.NDArray[np.float64]]:
        """Gives a lexicon of pronunciations with some more of them.

        Args:
            words: Id → further ways to say the word, the first phone of each one that starts words.
            ahead: `best_through` of this lexicon, (nodes + 1,).
            likely: Id → log10 probability.

        Returns:
            The lexicon, and its `best_through`. Of words that sound alike the new one comes first.
        """
        start, word, others = self.start.copy(), self.word[:-1].tolist(), dict(self.others)
        best, edges = ahead[:-1].tolist(), dict[int, int]()
        for number, ways in words.items():
            for way in ways:
                node = ROOT
                for place, token in enumerate(way):
                    key = node * self.size + token
                    known = int(start[token]) if place == 0 else edges.get(key, OFF)
                    if known == OFF and place and node < len(self.word) - 1:
                        known = int(self.step(np.array([node]), np.array([token]))[0])
                    if known == OFF:
                        known = len(word)
                        word.append(-1)
                        best.append(NOTHING)
                        if place:
                            edges[key] = known
                        else:
                            start[token] = known
                    node = known
                    best[node] = max(best[node], likely[number])
                if word[node] >= 0 and word[node] != number:
                    others[node] = (word[node], *(w for w in others.get(node, ()) if w != number))
                word[node] = number
        added = np.array(sorted(edges), dtype=np.int64)
        keys = np.concatenate([self.keys.astype(np.int64), added])
        targets = np.concatenate([self.targets, [edges[key] for key in added.tolist()]]).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        small = len(word) * self.size < 1 << 32
        sorted_keys = keys[order].astype(np.uint32 if small else np.int64)
        lexicon = Lexicon(start, np.array([*word, -1]), self.size, sorted_keys, targets[order], others)
        return lexicon, np.array([*best, ahead[-1]])

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

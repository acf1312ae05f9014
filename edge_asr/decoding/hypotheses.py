"""What a beam search holds: hypotheses in columns, and the tokens that led to them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.greedy import Token
from edge_asr.decoding.ngram import State

BREAK = -1
"""Stands in a history where one piece of audio ends and the next begins: between words."""
WORD = -2
"""``WORD - w`` stands in a history of phones where word w ends: phones alone don't say how it is spelled."""

MIX, BASE = np.uint64(0x9E3779B97F4A7C15), 0x100000001B3
"""Factors of the hashes of what is spelled."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Node:
    """The last token of a hypothesis, and what came before it. Hypotheses share their beginnings.

    Attributes:
        parent: The token before; None for the first, or where `cut` was.
        token: Its id, or `BREAK`, or ``WORD`` minus a word's id.
        frame: The frame at which it begins.
        log_prob: Its log-probability there.
    """

    __slots__ = ("frame", "log_prob", "parent", "token")

    def __init__(self, parent: Node | None, token: int, frame: int, log_prob: float) -> None:
        self.parent, self.token, self.frame, self.log_prob = parent, token, frame, log_prob

    def tokens(self) -> list[Token]:
        """Gives the tokens from the first to this one."""
        found, node = [], self
        while node.parent is not None:
            found.append(Token(node.token, node.frame, node.log_prob))
            node = node.parent
        return found[::-1]


def common(nodes: Iterable[Node]) -> Node:
    """Gives the last token that all hypotheses share, or the root."""
    iterator = iter(nodes)
    chain: list[Node] = []
    node: Node | None = next(iterator)
    while node is not None:
        chain.append(node)
        node = node.parent
    places = {id(node): place for place, node in enumerate(chain)}
    last = 0
    for other in iterator:
        while id(other) not in places:
            assert other.parent is not None
            other = other.parent
        last = max(last, places[id(other)])
    return chain[last]


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """One way to end the word being spelled: as one of those that sound alike.

    Attributes:
        word: Its id.
        gain: What ``bias`` gains.
        state: The language-model state after it.
        closed: The tokens, the word's end among them.
    """

    word: int
    gain: float
    state: State
    closed: Node


@dataclass(frozen=True, slots=True, eq=False)
class Hypotheses:
    """N hypotheses, the best first. Never changed, so that keeping one is a snapshot.

    Two hypotheses differ in what they spell (or, in phones, in words that sound alike) or in their last token; the ways
    to cut the same spelling into pieces are one hypothesis, whose probability is their sum.

    Attributes:
        blank: (N,) log-probability of all alignments that end in a blank.
        nonblank: (N,) of those that end in the last token.
        last: (N,) the last token; the blank if there is none.
        spelled: (N,) uint64 hash of the letters spelled.
        node: (N,) lexicon node of the word being spelled.
        bias: (N,) language-model scores, bonuses and boosts that are certain.
        ahead: (N,) scores that are likely: of the word being spelled and the phrase being matched.
        hot: (N,) state of the hotword graph.
        commit: (N,) what ``bias`` gains when the word ends here; NaN where it isn't known yet.
        states: Language-model states before the word being spelled.
        following: Language-model states after it, where ``commit`` is known.
        history: The tokens.
        closed: The tokens when the word has ended, where ``commit`` is known; ``history`` where tokens spell words.
        alike: Other words that sound like the one that ``commit`` is for.
    """

    blank: Floats
    nonblank: Floats
    last: Ints
    spelled: npt.NDArray[np.uint64]
    node: Ints
    bias: Floats
    ahead: Floats
    hot: Ints
    commit: Floats
    states: list[State]
    following: list[State]
    history: list[Node]
    closed: list[Node]
    alike: list[tuple[Ending, ...]]

    @classmethod
    def start(cls, state: State, blank: int, hot: int) -> Hypotheses:
        """Gives the one empty hypothesis, at the beginning of a word."""
        history = [Node(None, blank, -1, 0.0)]
        zero = np.zeros(1)
        none = np.zeros(1, dtype=np.int64)
        return cls(
            blank=zero,
            nonblank=np.full(1, -np.inf),
            last=np.full(1, blank, dtype=np.int64),
            spelled=np.zeros(1, dtype=np.uint64),
            node=none,
            bias=zero,
            ahead=zero,
            hot=np.full(1, hot, dtype=np.int64),
            commit=np.full(1, np.nan),
            states=[state],
            following=[state],
            history=history,
            closed=history,
            alike=[()],
        )

    @property
    def acoustic(self) -> Floats:
        """(N,) log-probability of all alignments."""
        return np.logaddexp(self.blank, self.nonblank)

    def take(self, index: Ints) -> Hypotheses:
        """Gives the hypotheses at some places."""
        return Hypotheses(
            blank=self.blank[index],
            nonblank=self.nonblank[index],
            last=self.last[index],
            spelled=self.spelled[index],
            node=self.node[index],
            bias=self.bias[index],
            ahead=self.ahead[index],
            hot=self.hot[index],
            commit=self.commit[index],
            states=[self.states[i] for i in index],
            following=[self.following[i] for i in index],
            history=[self.history[i] for i in index],
            closed=[self.closed[i] for i in index],
            alike=[self.alike[i] for i in index],
        )

    def spread(self, least: Floats | None = None) -> Hypotheses:
        """Gives the hypotheses, and after them those whose word ends as another one that sounds like it.

        Args:
            least: (N,) what such an end must gain at least to be worth it; None takes all.
        """
        floor = [-math.inf] * len(self.alike) if least is None else least.tolist()
        found = [(i, end) for i, ends in enumerate(self.alike) for end in ends if end.gain > floor[i]]
        if not found:
            return self
        ends, count = [end for _, end in found], len(self.alike)
        wide = self.take(np.array([*range(count), *(i for i, _ in found)]))
        wide.commit[count:] = [end.gain for end in ends]
        words = np.array([end.word for end in ends]).astype(np.uint64)
        wide.spelled[count:] = wide.spelled[count:] * np.uint64(BASE) + words * MIX
        return replace(
            wide,
            following=[*self.following, *(end.state for end in ends)],
            closed=[*self.closed, *(end.closed for end in ends)],
            alike=[()] * len(wide.alike),
        )

    def agreeing(self, frame: int) -> Hypotheses:
        """Gives the hypotheses that have the first one's tokens up to a frame, so that old doubts come to an end."""
        anchor = self.history[0]
        while anchor.parent is not None and anchor.frame > frame:
            anchor = anchor.parent
        kept = []
        for place, node in enumerate(self.history):
            while node is not anchor and node.parent is not None and node.frame >= anchor.frame:
                node = node.parent
            if node is anchor:
                kept.append(place)
        return self if len(kept) == len(self.history) else self.take(np.array(kept))


def spell(text: str) -> int:
    """The letters of a text as the hash that goes on from a text before it."""
    value = 0
    for char in text:
        value = (value * BASE + ord(char) + 1) % (1 << 64)
    return value

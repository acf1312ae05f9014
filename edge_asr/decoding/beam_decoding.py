"""A beam search on a stream: snapshots for revisits, words that have settled, n-best texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_asr.decoding.beam import BeamSearch, Ranked, SearchState
from edge_asr.decoding.decoding import (
    REVISITABLE,
    Alternative,
    Decoded,
    LogProbs,
    Partial,
    check_log_probs,
    check_replacement,
    check_restart,
)
from edge_asr.decoding.greedy import Token
from edge_asr.decoding.hypotheses import BREAK, WORD, Floats, Node, common
from edge_asr.decoding.tokens import WORD_START
from edge_asr.decoding.words import Confidence, Word, spoken_words, words_of

SETTLE_FRAMES = 64
"""How often it is looked for words that no hypothesis disputes any more."""
STABLE = 0.95
"""Share of the probability that must agree on a word before it is called stable."""
OLD_FRAMES = 75
"""A word of the best text that ended so long ago is called stable in any case."""


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """A chunk, and where the search stood before it."""

    log_probs: LogProbs
    state: SearchState


@dataclass(frozen=True, slots=True, eq=False)
class _Begin:
    """Where a piece of audio began: the search, and what had settled."""

    state: SearchState
    tokens: int
    words: int


class BeamDecoding:
    """The best of many hypotheses; see `Decoding` for the methods.

    Words that all hypotheses of the oldest snapshot share are settled: they are kept as tokens, and the
    hypotheses' common history is cut there. So the work per chunk doesn't grow with the length of the audio.

    Args:
        search: The search.
        pieces: The token table's pieces, or phones.
        confidence: What a word's confidence is made of.
        spelling: Gives the letters of a word of the language model; needed where the search reads phones.
    """

    def __init__(
        self,
        search: BeamSearch,
        pieces: tuple[str, ...],
        confidence: Confidence | None = None,
        spelling: Callable[[int], str] | None = None,
    ) -> None:
        self._search, self.pieces, self.phones = search, pieces, search.phones
        self._spelling = str if spelling is None else spelling
        self._confidence = Confidence() if confidence is None else confidence
        self._state = search.start()
        self._settled: list[Token] = []
        self._settled_words: list[Word] = []
        self._looked = 0  # frame at which words were last settled
        self._kept: list[_Before] = []
        self._chunks = 0
        self._begin = _Begin(self._state, 0, 0)

    def push(self, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        self._kept = [*self._kept[1 - REVISITABLE :], _Before(log_probs, self._state)]
        self._chunks += 1
        self._state = self._search.advance(self._state, log_probs)
        if self._state.frame >= self._looked + SETTLE_FRAMES:
            self._settle()

    def replace(self, chunk: int, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        sizes = [len(kept.log_probs) for kept in self._kept]
        place = check_replacement(chunk, self._chunks - len(self._kept), sizes, len(log_probs))
        later = [log_probs, *(kept.log_probs for kept in self._kept[place + 1 :])]
        self._state = self._kept[place].state
        self._kept, self._chunks = self._kept[:place], chunk
        for part in later:
            self.push(part)

    def boundary(self, *, final: bool = False) -> None:
        self._state = self._search.boundary(self._state)
        self._kept = []
        if final:
            self._state, tokens = self._search.best_alone(self._state)
            self._settled += tokens
            self._settled_words += self._words(tokens)
            self._begin = _Begin(self._state, len(self._settled), len(self._settled_words))

    def restart(self, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        begin = self._begin
        check_restart(self._state.frame - begin.state.frame, len(log_probs))
        del self._settled[begin.tokens :]
        del self._settled_words[begin.words :]
        self._looked = begin.state.frame
        self._kept = []
        self._state = self._search.advance(begin.state, log_probs)

    def partial(self, provisional: LogProbs) -> Partial:
        state = self._search.advance(self._state, provisional) if len(provisional) else self._state
        ranked = self._search.rank(state, end=False)
        best = self._words(ranked[0].history.tokens())
        texts = [[word.word for word in best], *(self._open_words(one.history) for one in ranked[1:])]
        weights = np.exp(np.minimum(0.0, np.array([one.score for one in ranked]) - ranked[0].score))
        old = sum(word.end <= state.frame - OLD_FRAMES for word in best)
        words = [word.word for word in self._settled_words] + texts[0]
        stable = len(self._settled_words) + max(old, _agreed(texts, weights / weights.sum()))
        return Partial(" ".join(words), min(stable, max(0, len(words) - 1)))

    def _words(self, tokens: Sequence[Token]) -> list[Word]:
        if self.phones:
            return spoken_words(tokens, self._spelling, self._confidence)
        return words_of(tokens, self.pieces, self._confidence)

    @property
    def last_token_frame(self) -> int | None:
        node = self._search.rank(self._state, end=False)[0].history
        while node.parent is not None:
            if node.token > BREAK:
                return node.frame
            node = node.parent
        return next((token.frame for token in reversed(self._settled) if token.id > BREAK), None)

    def result(self, count: int = 1) -> Decoded:
        texts = self._texts(self._search.rank(self._state))
        tokens = [*self._settled, *texts[0][1].history.tokens()]
        said = tuple(token for token in tokens if token.id > BREAK)
        alternatives = tuple(one for one, _ in texts[:count])
        return Decoded(texts[0][0].text, said, tuple(self._words(tokens)), alternatives)

    def _texts(self, ranked: list[Ranked]) -> list[tuple[Alternative, Ranked]]:
        """The texts, the best first, each with its best hypothesis; hypotheses with the same text add up."""
        before = [word.word for word in self._settled_words]
        scores: dict[str, float] = {}
        best: dict[str, Ranked] = {}
        for one in ranked:
            text = " ".join([*before, *self._open_words(one.history)])
            scores[text] = float(np.logaddexp(scores[text], one.score)) if text in scores else one.score
            best.setdefault(text, one)
        order = sorted(scores, key=lambda text: -scores[text])
        return [(Alternative(text, scores[text]), best[text]) for text in order]

    def _open_words(self, node: Node) -> list[str]:
        """What `words_of` spells, without times and confidence: this is asked of every hypothesis."""
        parts: list[str] = []
        if self.phones:
            while node.parent is not None:
                if node.token <= WORD:
                    parts.append(self._spelling(WORD - node.token))
                node = node.parent
            return parts[::-1]
        while node.parent is not None:
            parts.append(WORD_START if node.token == BREAK else self.pieces[node.token])
            node = node.parent
        spelled = "".join(reversed(parts)).split(WORD_START)
        return [word for word in spelled if word]

    def _settle(self) -> None:
        """Takes the words that every hypothesis of the oldest snapshot has, all but the last one."""
        self._looked = self._state.frame
        oldest = self._kept[0].state if self._kept else self._state
        node: Node | None = common(oldest.beam.history)
        while node is not None and not self._begins_word(node):
            node = node.parent
        if node is None or node.parent is None:
            return
        tokens = node.parent.tokens()
        if not tokens:
            return
        self._settled += tokens
        self._settled_words += self._words(tokens)
        before = node.parent
        node.parent = Node(None, before.token, before.frame, before.log_prob)

    def _begins_word(self, node: Node) -> bool:
        if node.parent is None or node.token <= WORD:
            return False
        return node.token == BREAK or self.pieces[node.token].startswith(WORD_START)


def _agreed(texts: list[list[str]], weights: Floats) -> int:
    """How many of the first text's first words are shared by hypotheses of weight `STABLE`."""
    best = texts[0]
    share = np.zeros(len(best) + 1)
    for words, weight in zip(texts, weights, strict=True):
        same = 0
        while same < min(len(words), len(best)) and words[same] == best[same]:
            same += 1
        share[: same + 1] += weight
    return int(np.flatnonzero(share >= min(STABLE, share[0]))[-1])

"""CTC prefix beam search with a lexicon, a word language model and hotwords; all hypotheses at once in NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.greedy import Token
from edge_asr.decoding.hotwords import HotwordGraph, phone_texts
from edge_asr.decoding.hypotheses import BASE, BREAK, MIX, WORD, Ending, Floats, Hypotheses, Ints, Node, spell
from edge_asr.decoding.lexicon import OFF, ROOT, Lexicon
from edge_asr.decoding.ngram import END, UNKNOWN, NgramModel, State
from edge_asr.decoding.tokens import WORD_START

LOWEST = -60.0
"""Log-probabilities below count as this, so that no hypothesis ever has none."""
NAT = math.log(10.0)
CACHED = 50_000
ALIKE = 2
"""Further words tried of those that sound alike, the likeliest ones: what follows may favour them."""
HORIZON, LOOK_EVERY = 375, 64
"""Frames: hypotheses that differ from the best one further back are dropped; how often it is looked for them."""

LogProbs = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SearchState:
    """Where a search stands.

    Attributes:
        beam: The hypotheses.
        frame: Frames taken so far.
        silence: Log-probability of the blanks skipped since the last frame that was searched; None without.
    """

    beam: Hypotheses
    frame: int = 0
    silence: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A hypothesis that is complete: its score in nats and its last token."""

    score: float
    history: Node


class BeamSearch:
    """A search; it holds no state of an utterance, every method gives the next `SearchState`.

    Frames are taken one by one, so the result doesn't depend on how they are cut into calls. Sources: Hannun
    et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent
    DNNs" (prefix search with a word model); Ortmanns et al. 1996 (look-ahead in a lexical tree).

    Args:
        config: Widths and weights.
        pieces: The token table's pieces.
        blank: Id of the blank.
        lm: Words and their probabilities; None searches without either. A word whose id is beyond its words counts as
            unknown to it.
        lexicon: `Lexicon.build` of the model's trie for these pieces; only without ``lm`` None.
        ahead: (nodes + 1,) log10 probability of the best word behind a node, `best_through`.
        hotwords: Phrases to prefer.
        phones: Whether the tokens are phones: the lexicon then says which words end at a node, the likeliest of those
            that sound the same go on as hypotheses of their own, and histories hold the words beside the tokens.
    """

    def __init__(
        self,
        config: BeamConfig,
        pieces: tuple[str, ...],
        blank: int = 0,
        *,
        lm: NgramModel | None = None,
        lexicon: Lexicon | None = None,
        ahead: Floats | None = None,
        hotwords: HotwordGraph | None = None,
        phones: bool = False,
    ) -> None:
        self.config, self._blank, self._lm, self._hot = config, blank, lm, hotwords
        self.phones = phones
        self._open = not phones and (lm is None or not config.lexicon)
        self._penalty = config.unknown_penalty if lm is not None else 0.0
        self._lexicon = Lexicon.empty(pieces) if lexicon is None else lexicon
        self._weight = config.lm_weight * NAT
        self._ahead = np.zeros(2) if ahead is None else ahead * self._weight
        self._ahead[ROOT] = 0.0
        self._unknown = 0.0 if lm is None else self._weight * float(lm.unigrams()[UNKNOWN])
        self._ahead[OFF] = self._unknown - self._penalty
        self._starts = np.array([piece.startswith(WORD_START) for piece in pieces])
        texts = phone_texts(pieces) if phones else [piece.replace(WORD_START, " ") for piece in pieces]
        self._factor = np.array([pow(BASE, len(text), 1 << 64) for text in texts], dtype=np.uint64)
        self._addend = np.array([spell(text) for text in texts], dtype=np.uint64)
        self._recombine = config.recombine and lm is not None
        self._skip = math.log(config.blank_skip)
        self._least = math.log(config.token_min) * config.acoustic_scale
        self._cache: dict[tuple[State, int], tuple[float, State]] = {}

    def start(self) -> SearchState:
        """Gives the state before the first frame."""
        hot = HotwordGraph.START if self._hot is None else int(self._hot.space[HotwordGraph.START])
        return SearchState(Hypotheses.start(() if self._lm is None else self._lm.begin, self._blank, hot))

    def advance(self, state: SearchState, log_probs: LogProbs) -> SearchState:
        """Takes further frames, (T, V), without NaN."""
        rows = np.maximum(log_probs.astype(np.float64), LOWEST)
        skipped = rows[:, self._blank] > self._skip
        rows[:, self._blank] -= self.config.blank_penalty
        rows *= self.config.acoustic_scale
        beam, silence = state.beam, state.silence
        for index, skip in enumerate(skipped.tolist()):
            row = rows[index]
            if (state.frame + index) % LOOK_EVERY == 0:
                beam = beam.agreeing(state.frame + index - HORIZON)
            if skip:
                silence = (silence or 0.0) + float(row[self._blank])
                continue
            if silence is not None:
                beam, silence = self._after_silence(beam, silence), None
            beam = self._step(beam, row, state.frame + index)
        return SearchState(beam, state.frame + len(rows), silence)

    def boundary(self, state: SearchState) -> SearchState:
        """Ends a piece of audio: the word ends, and the next token isn't a repeat."""
        beam = self._after_silence(state.beam, state.silence or 0.0)
        beam = self._commit(beam, np.ones(len(beam.node), dtype=bool)).spread()
        gained = self._closing(beam)
        hot = beam.hot
        loan = np.zeros(len(hot))
        if self._hot is not None:
            gained = gained + self._hot.end[hot]
            hot = self._hot.space[hot]
            loan = self._hot.ahead[hot]
        history = [Node(node, BREAK, state.frame, 0.0) for node in beam.closed]
        moved = replace(
            beam,
            last=np.full(len(hot), self._blank, dtype=np.int64),
            spelled=beam.spelled * np.uint64(BASE) + np.uint64(spell(" ")),
            node=np.full(len(hot), ROOT, dtype=np.int64),
            bias=beam.bias + gained,
            ahead=loan,
            hot=hot,
            commit=np.zeros(len(hot)),
            states=beam.following,
            history=history,
            closed=history,
            alike=[()] * len(hot),
        )
        order = np.argsort(-(moved.blank + moved.bias + moved.ahead), kind="stable")
        return SearchState(moved.take(order[np.isfinite(moved.bias[order])]), state.frame)

    def best_alone(self, state: SearchState) -> tuple[SearchState, list[Token]]:
        """Keeps only the best hypothesis after a boundary, and gives its tokens, which it forgets."""
        best = state.beam.take(np.array([int(np.argmax(state.beam.blank + state.beam.bias + state.beam.ahead))]))
        tokens, history = best.history[0].tokens(), [Node(None, BREAK, state.frame, 0.0)]
        return replace(state, beam=replace(best, history=history, closed=history)), tokens

    def rank(self, state: SearchState, *, end: bool = True) -> list[Ranked]:
        """Ranks the hypotheses, best first; several may have the same text.

        Args:
            state: Where the search stands.
            end: Whether the text ends here: then unfinished words and the end of the sentence are scored.
        """
        beam = state.beam
        score = beam.acoustic + beam.bias + beam.ahead
        if end or self.phones:
            beam = self._commit(beam, np.ones(len(beam.node), dtype=bool))
        if end:
            beam = beam.spread()
            score = beam.acoustic + beam.bias + self._closing(beam)
            if self._lm is not None:
                score = score + [self._weight * self._score(s, END)[0] for s in beam.following]
            if self._hot is not None:
                score = score + self._hot.end[beam.hot]
        score = score + (state.silence or 0.0)
        order = np.argsort(-score, kind="stable")
        said = beam.closed if end or self.phones else beam.history
        return [Ranked(float(score[i]), said[i]) for i in order if np.isfinite(score[i])]

    def _closing(self, beam: Hypotheses) -> Floats:
        """What each hypothesis gains when its word must end: if none may, all do, as unknown words."""
        if np.isfinite(beam.commit).any():
            return beam.commit
        return np.full(len(beam.commit), self.config.word_bonus - self._penalty)

    def _after_silence(self, beam: Hypotheses, silence: float) -> Hypotheses:
        blank = beam.acoustic + silence
        return replace(beam, blank=blank, nonblank=np.full(len(blank), -np.inf))

    def _tokens(self, row: Floats) -> Ints:
        """The tokens worth trying in a frame."""
        likely = row > self._least
        likely[self._blank] = False
        tokens = np.flatnonzero(likely)
        if len(tokens) > self.config.tokens:
            tokens = np.sort(tokens[np.argpartition(-row[tokens], self.config.tokens)[: self.config.tokens]])
        return tokens

    def _step(self, beam: Hypotheses, row: Floats, frame: int) -> Hypotheses:
        total = beam.acoustic
        blank, nonblank = total + row[self._blank], beam.nonblank + row[beam.last]
        tokens = self._tokens(row)
        if not len(tokens):
            return replace(beam, blank=blank, nonblank=nonblank)
        language = beam.bias + beam.ahead
        stay = np.logaddexp(blank, nonblank) + language
        cutoff = stay.max() - self.config.beam
        starts, source = self._starts[tokens], beam  # what new tokens come after
        if starts.any():
            best = row[tokens[starts]].max()
            source = beam = self._commit(beam, total + language + best > cutoff - self.config.beam)
            if self.phones:
                source = beam.spread(cutoff - total - beam.bias - best)
        repeat = source.last[:, None] == tokens
        acoustic = np.where(repeat, source.blank[:, None], source.acoustic[:, None]) + row[tokens]
        node = np.where(starts, self._lexicon.start[tokens], self._lexicon.step(source.node[:, None], tokens))
        bias = source.bias[:, None] + np.where(starts, source.commit[:, None], 0.0)
        ahead = self._ahead[node]
        allowed = node != OFF if not self._open else None
        hot = None
        if self._hot is not None:
            hot = self._hot.next[source.hot[:, None], tokens]
            bias = bias + self._hot.gain[source.hot[:, None], tokens]
            ahead = ahead + self._hot.ahead[hot]
            if not self.phones:  # words that the lexicon lacks and a phrase has
                phrase = (hot != HotwordGraph.START) & (node == OFF)
                ahead = np.where(phrase, self._unknown + self._hot.ahead[hot], ahead)
                allowed = None if allowed is None else allowed | phrase
        score = acoustic + bias + ahead
        kept = score > cutoff
        if allowed is not None:
            kept &= allowed
        count = len(total)
        kept[count:] &= starts
        i, k = np.nonzero(kept)
        taken = tokens[k]
        # Stay or go on: the same spelling with the same last token is one hypothesis.
        spelled = np.concatenate([beam.spelled, source.spelled[i] * self._factor[taken] + self._addend[taken]])
        last = np.concatenate([beam.last, taken])
        nonblank = np.concatenate([nonblank, acoustic[i, k]])
        blank = np.concatenate([blank, np.full(len(i), -np.inf)])
        score = np.concatenate([stay, score[i, k]])
        key = spelled ^ (last.astype(np.uint64) * MIX)
        order = np.lexsort((-score, key))
        key = key[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        lead = order[first]  # the likeliest way to get there; its tokens are kept
        if len(first) < len(order):
            nonblank = np.logaddexp.reduceat(nonblank[order], first)
            blank = np.maximum.reduceat(blank[order], first)
        else:
            nonblank, blank = nonblank[order], blank[order]
        bias = np.concatenate([beam.bias, bias[i, k]])[lead]
        ahead = np.concatenate([beam.ahead, ahead[i, k]])[lead]
        score = np.logaddexp(blank, nonblank) + bias + ahead
        grown = np.concatenate([beam.node, node[i, k]])
        order = np.argsort(-score, kind="stable")
        order = order[score[order] >= score[order[0]] - self.config.beam]
        hots = None if hot is None else np.concatenate([beam.hot, hot[i, k]])
        history, closed, best_first, commits = list[Node](), list[Node](), list[int](), list[float]()
        alike = list[tuple[Ending, ...]]()
        states, following = list[State](), list[State]()
        seen = set()
        # As lists: taking one number out of an array costs more than all that is done with it here.
        ranked = lead[order]
        hot_states = [0] * len(ranked) if hots is None else hots[ranked].tolist()
        parents, columns, ids, begins = i.tolist(), k.tolist(), tokens.tolist(), starts.tolist()
        rows = zip(
            order.tolist(), ranked.tolist(), grown[ranked].tolist(), last[ranked].tolist(), hot_states, strict=True
        )
        for place, c, spot, final, heat in rows:
            if c < count:
                before, after = beam.states[c], beam.following[c]
            else:
                parent, column = parents[c - count], columns[c - count]
                before = after = source.following[parent] if begins[column] else source.states[parent]
            if self._recombine and spot != OFF:
                future = (before, spot, final, heat)
                if future in seen:  # a better one has it, and will stay ahead
                    continue
                seen.add(future)
            if c < count:
                history.append(beam.history[c])
                closed.append(beam.closed[c])
                alike.append(beam.alike[c])
                commits.append(float(beam.commit[c]))
            else:
                token = ids[column]
                said = float(row[token]) / self.config.acoustic_scale
                history.append(Node((source.closed if begins[column] else source.history)[parent], token, frame, said))
                closed.append(history[-1])
                alike.append(())
                commits.append(np.nan)
            best_first.append(place)
            states.append(before)
            following.append(after)
            if len(best_first) == self.config.width:
                break
        chosen = lead[best_first]
        return Hypotheses(
            blank=blank[best_first],
            nonblank=nonblank[best_first],
            last=last[chosen],
            spelled=spelled[chosen],
            node=grown[chosen],
            bias=bias[best_first],
            ahead=ahead[best_first],
            hot=beam.hot[:1].repeat(len(chosen)) if hots is None else hots[chosen],
            commit=np.array(commits),
            states=states,
            following=following,
            history=history,
            closed=closed,
            alike=alike,
        )

    def _commit(self, beam: Hypotheses, wanted: npt.NDArray[np.bool_]) -> Hypotheses:
        """Scores the words being spelled as if they ended here, where that is wanted and not done yet."""
        todo = np.flatnonzero(wanted & np.isnan(beam.commit)).tolist()
        if not todo:
            return beam
        commit, following, closed = beam.commit.copy(), list(beam.following), list(beam.closed)
        alike = list(beam.alike)
        for i in todo:
            node = int(beam.node[i])
            if node == ROOT:
                commit[i] = 0.0
                continue
            word = int(self._lexicon.word[node])
            if self.phones and word >= 0:
                ends = self._endings(
                    beam.states[i], (word, *self._lexicon.others.get(node, ())[:ALIKE]), beam.history[i]
                )
                commit[i], following[i], closed[i], alike[i] = ends[0].gain, ends[0].state, ends[0].closed, ends[1:]
                continue
            gained = self.config.word_bonus
            if word < 0:
                word = UNKNOWN
                if self.phones or self._hot is None or not self._hot.complete[beam.hot[i]]:
                    if not self._open:
                        commit[i] = -np.inf
                        continue
                    gained -= self._penalty
            if self._lm is not None:
                score, following[i] = self._score(beam.states[i], word)
                gained += self._weight * score
            commit[i] = gained
        return replace(beam, commit=commit, following=following, closed=closed, alike=alike)

    def _endings(self, state: State, words: tuple[int, ...], last: Node) -> tuple[Ending, ...]:
        """The likeliest of some words that sound alike, as ends of a word, the likeliest first."""
        scored = [(self._score(state, word), word) for word in words]
        if len(scored) > 1:
            if self._lm is not None and words[0] >= self._lm.words:  # asked for, so not behind those that are known
                top = max(score for (score, _), _ in scored)
                scored[0] = (top, scored[0][0][1]), words[0]
            scored.sort(key=lambda one: -one[0][0])
            least = scored[0][0][0] - self.config.beam / 2 / self._weight if self._weight else -math.inf
            scored = [one for one in scored if one[0][0] >= least]
        bonus, weight, frame = self.config.word_bonus, self._weight, last.frame
        return tuple(
            Ending(word, bonus + weight * score, after, Node(last, WORD - word, frame, 0.0))
            for (score, after), word in scored
        )

    def _score(self, state: State, word: int) -> tuple[float, State]:
        key = (state, word)
        known = self._cache.get(key)
        if known is None:
            assert self._lm is not None
            if len(self._cache) >= CACHED:
                self._cache.clear()
            known = self._cache[key] = self._lm.score(state, word if word < self._lm.words else UNKNOWN)
        return known

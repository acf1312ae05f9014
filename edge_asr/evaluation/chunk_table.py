"""All chunks of a recorded data set in one table: policies become arrays of exits, and their results gathers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import DataError
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.splice_scorer import SpliceScorer
from edge_asr.exits.base import Criterion
from edge_asr.exits.policy import Policy
from edge_asr.exits.view import ExitView

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a policy costs and what it gives.

    Args:
        wer: word error rate, as a fraction.
        mean_exit: mean over frames, as in a transcript.
        mean_cost: mean over frames of the cost at the exit taken; multiply-accumulates per second of audio,
            or whatever the table's costs are.
        histogram: share of chunks that left at each exit.
    """

    wer: float
    mean_exit: float
    mean_cost: float
    histogram: tuple[float, ...]


class ChunkTable:
    """The chunks of some utterances, with cost and word errors of any choice of exits.

    Args:
        recordings: utterances with all exits, at one chunk size.
        costs: cumulative cost of each exit per second of audio.
        tokens: the model's tokens.
        blank: id of the blank, kept as `blank`.
        scorer: one that has scored the same recordings before.

    Raises:
        DataError: there is no chunk.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        costs: Sequence[float],
        tokens: TokenTable,
        blank: int = 0,
        scorer: SpliceScorer | None = None,
    ) -> None:
        self.recordings = tuple(recordings)
        self._tokens, self.blank = tokens, blank
        self.costs = np.asarray(costs, dtype=np.float64)
        self.exits = len(self.costs)
        counts = [len(recording.chunks) for recording in recordings]
        if not sum(counts):
            raise DataError("nothing to calibrate on: the recordings have no chunks")
        self.bounds = np.concatenate([[0], np.cumsum(counts)])  # of each utterance's rows
        self.utterance = np.repeat(np.arange(len(counts)), counts)
        chunks = [chunk for recording in recordings for chunk in recording.chunks]
        self.chunks = tuple(chunks)
        self.frames = np.array([chunk.info.n_valid for chunk in chunks])
        self.scorer = SpliceScorer(recordings, tokens, blank) if scorer is None else scorer
        self._numbers = np.arange(len(counts))  # of the utterances in the scorer
        self._values: dict[tuple[Criterion, tuple[float, ...] | None], Floats] = {}

    def subset(self, utterances: Iterable[int]) -> ChunkTable:
        """The table of some of the utterances, which remembers what this one has computed."""
        chosen = sorted(utterances)
        table = ChunkTable(
            [self.recordings[u] for u in chosen], self.costs.tolist(), self._tokens, self.blank, self.scorer
        )
        table._numbers = self._numbers[chosen]
        rows = np.isin(self.utterance, chosen)
        table._values = {key: values[rows] for key, values in self._values.items()}
        if "harm" in self.__dict__:
            table.__dict__["harm"] = self.harm[rows]
        return table

    def with_costs(self, costs: Sequence[float]) -> ChunkTable:
        """The same table with other costs, such as seconds instead of multiply-accumulates."""
        table = self.subset(range(len(self.recordings)))
        table.costs = np.asarray(costs, dtype=np.float64)
        return table

    def values(self, criterion: Criterion, temperatures: Sequence[float] | None = None) -> Floats:
        """(K, exits - 1): the criterion of each chunk at each exit but the last."""
        key = (criterion, None if temperatures is None else tuple(temperatures))
        if key not in self._values:
            rows = [[criterion.value(view) for view in views] for views in self.views(temperatures)]
            self._values[key] = np.array(rows, dtype=np.float64).reshape(len(rows), self.exits - 1)
        return self._values[key]

    def views(self, temperatures: Sequence[float] | None = None) -> Iterator[list[ExitView]]:
        """What criteria look at: of each chunk the views of all exits but the last, temperatures applied."""
        for chunk in self.chunks:
            views = chunk.views()[:-1]
            yield _chain(views[-1].tempered(temperatures)) if temperatures is not None and views else views

    def taken(
        self, values: Floats, thresholds: Sequence[float], *, small_is_sure: bool, hysteresis: float = 0.0
    ) -> Integers:
        """(K,): the exit from 1 at which each chunk leaves under thresholds, as `ThresholdPolicy` decides."""
        limits = np.asarray(thresholds, dtype=np.float64)
        if not hysteresis:
            return _first_sure(values, limits, small_is_sure)
        strict = limits - hysteresis if small_is_sure else limits + hysteresis
        ahead = np.arange(1, self.exits)  # a threshold is the stricter one before the exit that the chunk before took
        after = [
            _first_sure(values, np.where(ahead < before, strict, limits), small_is_sure).tolist()
            for before in range(self.exits + 1)
        ]
        found: list[int] = []
        for row, begins in enumerate(self._begins.tolist()):
            found.append(after[0 if begins else found[-1]][row])
        return np.array(found, dtype=np.int64)

    @cached_property
    def _begins(self) -> npt.NDArray[np.bool_]:
        """(K,): whether a chunk is the first of its piece."""
        pieces = np.array([chunk.piece for chunk in self.chunks])
        same = (self.utterance[1:] == self.utterance[:-1]) & (pieces[1:] == pieces[:-1])
        return np.concatenate([[True], ~same])

    def taken_by(self, policy: Policy) -> Integers:
        """(K,): the exit at which each chunk leaves under any policy, asked as the runtime asks it."""
        return np.array([exit for recording in self.recordings for exit in recording.leave(policy)], dtype=np.int64)

    def fixed(self, exit: int) -> Integers:
        """(K,): one exit for all."""
        return np.full(len(self.chunks), exit, dtype=np.int64)

    def errors(self, taken: Integers) -> Integers:
        """(U,): word errors of each utterance."""
        return np.array(
            [
                self.scorer.errors(int(number), taken[start:end].tolist())
                for number, start, end in zip(self._numbers, self.bounds[:-1], self.bounds[1:], strict=True)
            ],
            dtype=np.int64,
        )

    @property
    def words(self) -> Integers:
        """(U,): words in each reference."""
        words: Integers = self.scorer.words[self._numbers].astype(np.int64)
        return words

    @cached_property
    def harm(self) -> Integers:
        """(K, exits): more word errors than at the last exit, see `SpliceScorer.harm`."""
        parts = [self.scorer.harm(int(number)) for number in self._numbers]
        return np.concatenate([part for part in parts if len(part)])

    def cost(self, taken: Integers) -> float:
        """Mean cost over frames."""
        return float((self.costs[taken - 1] * self.frames).sum() / self.frames.sum())

    def point(self, taken: Integers) -> OperatingPoint:
        """What a choice of exits costs and gives."""
        wer = float(self.errors(taken).sum() / max(1, int(self.words.sum())))
        mean_exit = float((taken * self.frames).sum() / self.frames.sum())
        shares = np.bincount(taken, minlength=self.exits + 1)[1:] / len(taken)
        return OperatingPoint(wer, mean_exit, self.cost(taken), tuple(shares.tolist()))


def _first_sure(values: Floats, limits: Floats, small_is_sure: bool) -> Integers:
    """(K,): the first exit, from 1, whose value passes its limit; the last one where none does."""
    sure = values <= limits if small_is_sure else values >= limits
    exits: Integers = np.concatenate([sure, np.ones((len(sure), 1), dtype=bool)], axis=1).argmax(axis=1) + 1
    return exits


def _chain(view: ExitView) -> list[ExitView]:
    """A view and those before it, from exit 1."""
    views = [view]
    while views[0].before is not None:
        views.insert(0, views[0].before)
    return views

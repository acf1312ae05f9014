"""Evaluation: error rates and costs of every exit and of the bundle's policy, from one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.schema import FULL
from edge_asr.decoding.decoder import GREEDY, Decoder
from edge_asr.decoding.hotwords import Hotword
from edge_asr.errors import BundleError, DataError, OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.recording import Recording, record
from edge_asr.evaluation.wer import ErrorCount, char_errors, word_errors
from edge_asr.exits.policy import Policy
from edge_asr.runtime.recognizer import AUTO, Recognizer


@dataclass(frozen=True, slots=True)
class ExitResult:
    """Every chunk at one exit.

    Args:
        exit: the exit, from 1.
        wer: word error rate, as a fraction.
        cer: character error rate, as a fraction.
        params: parameters that have run when the exit speaks.
        macs_per_second: multiply-accumulates per second of audio until it speaks.
    """

    exit: int
    wer: float
    cer: float
    params: int
    macs_per_second: float


@dataclass(frozen=True, slots=True)
class AutoResult:
    """Every chunk at the exit that the bundle's policy takes.

    Args:
        criterion: what the policy goes by.
        wer: word error rate, as a fraction.
        mean_exit: mean over frames, as in a transcript.
        mean_macs_per_second: mean over frames of the cost at the exit taken.
        exit_histogram: chunks that left at each exit, by the exit's number.
    """

    criterion: str
    wer: float
    mean_exit: float
    mean_macs_per_second: float
    exit_histogram: dict[str, int]


@dataclass(frozen=True, slots=True)
class SecondPassResult:
    """The policy's partial texts, and final texts from a second pass over whole pieces.

    Args:
        wer: word error rate of the final texts, as a fraction.
        mean_macs_per_second: mean over frames of both passes.
        better: utterances whose final text has fewer errors than the partial one.
        worse: utterances whose final text has more.
    """

    wer: float
    mean_macs_per_second: float
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result for one data set and chunk size.

    Args:
        utterances: how many.
        words: words in the references.
        duration: seconds of audio in all.
        chunk_ms: chunk size in ms, or `"full"`.
        exits: one result for each exit.
        auto: the policy's result; None if the bundle has no thresholds for this precision and chunk size.
        second_pass: the policy's result with a second pass; None if it was not asked for.
    """

    utterances: int
    words: int
    duration: float
    chunk_ms: int | str
    exits: tuple[ExitResult, ...]
    auto: AutoResult | None
    second_pass: SecondPassResult | None = None

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values, with the keys of the fields; rates are fractions."""
        return asdict(self) | {"exits": [asdict(result) for result in self.exits]}


def evaluate(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    *,
    chunk: int | str = 640,
    decoder: Decoder | None = None,
    hotwords: Sequence[Hotword] = (),
    second_pass: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model on a data set.

    All segments run once on each chunk; the fixed depths and the policy are gathers of that pass.

    Args:
        recognizer: a loaded model.
        utterances: the data set, see `load_dataset` and `sample`.
        chunk: chunk size in ms, or `"full"`.
        decoder: makes text of each exit's log-probabilities; None decodes greedily.
        hotwords: phrases that the decoder is to prefer.
        second_pass: transcribe once more with a second pass, as `Recognizer.transcribe` does.
        tick: called after each utterance.

    Raises:
        DataError: there are no utterances.
        AudioNotFoundError, AudioError: an utterance's audio cannot be read.
        OptionError: the bundle does not allow the chunk size, or has no thresholds for a second pass.
        BundleError: the bundle says nothing about the cost of this chunk size.

    Example:
        >>> result = evaluate(Recognizer.load("en-tiny"), load_dataset("dev-clean"))  # doctest: +SKIP
        >>> result.exits[-1].wer  # doctest: +SKIP
    """
    if not utterances:
        raise DataError("nothing to evaluate: the data set has no utterances")
    tally = _Tally(recognizer, chunk, decoder, hotwords, second_pass)
    for utterance in utterances:
        tally.add(record(recognizer, utterance, chunk))
        tick()
    return tally.result()


def exit_costs(bundle: Bundle, chunk: int | str) -> tuple[float, ...]:
    """Multiply-accumulates per second of audio of each exit at a chunk size.

    Raises:
        BundleError: `bundle.json` lacks the figure.
    """
    costs = []
    for index, exit in enumerate(bundle.spec.exits):
        if str(chunk) not in exit.macs_per_second:
            field = f"exits[{index}].macs_per_second"
            raise BundleError(f"lacks {str(chunk)!r}", file=bundle.path / "bundle.json", field=field)
        costs.append(exit.macs_per_second[str(chunk)])
    return tuple(costs)


def exit_seconds(recordings: Sequence[Recording], frame_seconds: float) -> tuple[float, ...]:
    """Seconds of computation per second of audio until each exit speaks, from medians over recorded chunks.

    Raises:
        DataError: the recordings have no times.
    """
    rows = [np.array(chunk.seconds) / (chunk.info.n_valid * frame_seconds) for r in recordings for chunk in r.chunks]
    if not rows or not all(len(row) for row in rows):
        raise DataError("the recordings have no times of segments; record them anew")
    return tuple(float(value) for value in np.cumsum(np.median(np.array(rows), axis=0)))


class _Tally:
    """Adds up what recordings say, so that none has to be kept."""

    def __init__(
        self,
        recognizer: Recognizer,
        chunk: int | str,
        decoder: Decoder | None,
        hotwords: Sequence[Hotword],
        second_pass: bool,
    ) -> None:
        self._recognizer, self._chunk = recognizer, chunk
        self._decoder = recognizer.decoder(GREEDY) if decoder is None else decoder
        self._hotwords = hotwords
        self._spec = recognizer.bundle.spec
        self._name = name = recognizer.thresholds_of(self._decoder.name, self._decoder.start(hotwords))
        self._policy = recognizer.policy(AUTO, chunk, name) if second_pass else _policy(recognizer, chunk, name)
        self._final = _Finals(recognizer, chunk, self._decoder, hotwords) if second_pass else None
        self._costs = exit_costs(recognizer.bundle, chunk)
        depth = self._spec.encoder.exits
        self._words = [ErrorCount()] * depth
        self._chars = [ErrorCount()] * depth
        self._auto_words = ErrorCount()
        self._left = [0] * depth  # chunks
        self._left_frames = [0] * depth
        self._utterances, self._seconds = 0, 0.0

    def add(self, recording: Recording) -> None:
        reference = recording.utterance.text
        self._utterances += 1
        self._seconds += recording.seconds
        for index in range(len(self._words)):
            text = recording.decode(index + 1, self._decoder.start(self._hotwords)).text
            self._words[index] += word_errors(reference, text)
            self._chars[index] += char_errors(reference, text)
        if self._policy is not None:
            taken = recording.leave(self._policy)
            text = recording.decode(taken, self._decoder.start(self._hotwords)).text
            auto_words = word_errors(reference, text)
            self._auto_words += auto_words
            if self._final is not None:
                self._final.add(recording.utterance, auto_words)
            for chunk, exit in zip(recording.chunks, taken, strict=True):
                self._left[exit - 1] += 1
                self._left_frames[exit - 1] += chunk.info.n_valid

    def result(self) -> Evaluation:
        exits = tuple(
            ExitResult(exit.exit, words.rate, chars.rate, exit.params, cost)
            for exit, words, chars, cost in zip(self._spec.exits, self._words, self._chars, self._costs, strict=True)
        )
        return Evaluation(
            utterances=self._utterances,
            words=self._words[0].reference,
            duration=round(self._seconds, 3),
            chunk_ms=self._chunk,
            exits=exits,
            auto=self._auto(),
            second_pass=None if self._final is None else self._final.result(),
        )

    def _auto(self) -> AutoResult | None:
        if self._policy is None:
            return None
        calibrated = self._recognizer.bundle.policy
        frames = max(1, sum(self._left_frames))
        return AutoResult(
            criterion="none" if calibrated is None else calibrated.of(self._name, str(self._chunk)).criterion,
            wer=self._auto_words.rate,
            mean_exit=sum(n * exit for exit, n in enumerate(self._left_frames, start=1)) / frames,
            mean_macs_per_second=sum(n * c for n, c in zip(self._left_frames, self._costs, strict=True)) / frames,
            exit_histogram={str(exit): n for exit, n in enumerate(self._left, start=1)},
        )


class _Finals:
    """Adds up what second passes say."""

    def __init__(self, recognizer: Recognizer, chunk: int | str, decoder: Decoder, hotwords: Sequence[Hotword]) -> None:
        self._recognizer = recognizer
        self._options: dict[str, Any] = {"chunk": chunk, "decoder": decoder, "hotwords": hotwords}
        self._costs, self._whole = exit_costs(recognizer.bundle, chunk), exit_costs(recognizer.bundle, FULL)
        self._words, self._spent, self._frames, self._better, self._worse = ErrorCount(), 0.0, 0, 0, 0

    def add(self, utterance: Utterance, partial: ErrorCount) -> None:
        """Transcribes an utterance whose partial text has these errors."""
        transcript = self._recognizer.transcribe(utterance.audio, second_pass=True, **self._options)
        words = word_errors(utterance.text, transcript.text)
        self._words += words
        self._better += words.errors < partial.errors
        self._worse += words.errors > partial.errors
        for part in transcript.chunks:
            again = 0.0 if part.final_exit is None else self._whole[part.final_exit - 1] - self._whole[0]
            self._spent += part.frames * (self._costs[part.exit - 1] + again)
            self._frames += part.frames

    def result(self) -> SecondPassResult:
        """The sums as rates."""
        return SecondPassResult(self._words.rate, self._spent / max(1, self._frames), self._better, self._worse)


def _policy(recognizer: Recognizer, chunk: int | str, decoder: str | None) -> Policy | None:
    recognizer.chunk_frames(chunk)  # a chunk size that is not allowed is an error; missing thresholds are not
    try:
        return recognizer.policy(AUTO, chunk, decoder)
    except OptionError:
        return None

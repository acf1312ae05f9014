"""A live recognition: audio in as it comes, text out as it gets known."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.audio.pcm import check_pcm, to_mono
from edge_asr.audio.resampler import Resampler, check_rate
from edge_asr.bundle.bundle import Bundle
from edge_asr.decoding.decoding import Alternative, Decoding, GreedyDecoding, Partial
from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.decoding.text import Formatter, lower_case
from edge_asr.decoding.tokens import TokenTable
from edge_asr.decoding.words import Word
from edge_asr.errors import AudioError, OptionError, StreamClosedError
from edge_asr.exits.policy import Policy
from edge_asr.runtime.controller import BudgetController
from edge_asr.runtime.decided_chunk import DecidedChunk, LogProbs
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.engine import Engine
from edge_asr.runtime.monitor import Monitor
from edge_asr.runtime.transcript import ChunkResult, TokenResult, Transcript, WordResult

BLOCK_SECONDS = 1.0
"""Long arrays are taken in blocks of this length, so that temporary memory stays small."""


class Stream:
    """One recognition in progress; made by `Recognizer.stream`. Not for several threads at once.

    However the audio is cut into calls, text and exits are the same. Until `finish` it keeps a record of every chunk
    and word: for audio without end start another one at each `endpoint`.

    Args:
        bundle: The bundle.
        engine: Runs its graphs.
        tokens: Its token table.
        policy: Decides where a chunk leaves.
        chunk_frames: Frames in a chunk; None for ``full``.
        sample_rate: Rate of the audio in Hz.
        formatter: Makes the text fit for people; None for lower case.
        keep_log_probs: Keep the splice for `log_probs`; memory then grows with the length.
        controller: Keeps a budget, around the policy.
        monitor: Counts what happens.
        monitor_place: Where it counts the criterion, see `PolicySpec.place`; None where the policy isn't the calibrated
            one.
        decoding: Makes text of log-probabilities; None decodes greedily.
        nbest: Most alternatives in the transcript.
        endpoint: When `endpoint` says that the utterance is over.
        second_pass: Decides how deep each piece goes once more at its end, as a whole; None for no second pass.

    Example:
        >>> stream = Recognizer.load("en-tiny").stream(sample_rate=48_000)  # doctest: +SKIP
        >>> for pcm in microphone:  # doctest: +SKIP
        ...     stream.feed(pcm)
        ...     print(stream.partial)
        >>> stream.finish().text  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        tokens: TokenTable,
        policy: Policy,
        *,
        chunk_frames: int | None,
        sample_rate: int = 16_000,
        formatter: Formatter | None = None,
        keep_log_probs: bool = False,
        controller: BudgetController | None = None,
        monitor: Monitor | None = None,
        monitor_place: str | None = None,
        decoding: Decoding | None = None,
        nbest: int = 1,
        endpoint: EndpointConfig | None = None,
        second_pass: Policy | None = None,
    ) -> None:
        self._rate = check_rate(sample_rate)
        self._resampler = Resampler(self._rate, bundle.spec.sample_rate)
        self._controller, self._monitor = controller, monitor
        self._clock = time.perf_counter if controller is None else controller.clock
        self._monitor_place = monitor_place
        self._encoder = EncoderStream(
            bundle,
            engine,
            policy if controller is None else controller,
            chunk_frames=chunk_frames,
            keep=0 if controller is None else controller.keep,
            observe=self._observe,
            reviser=controller,
            clock=self._clock,
            second_pass=second_pass,
        )
        self._final = second_pass is not None
        if isinstance(nbest, bool) or not isinstance(nbest, int) or nbest < 1:
            raise OptionError(f"nbest={nbest!r}: expected 1 or more")
        self._decoding = GreedyDecoding(tokens.pieces, bundle.spec.tokens.blank) if decoding is None else decoding
        if self._decoding.phones and bundle.spec.phones is None:
            raise OptionError(f"decoding reads phones, and bundle {bundle.spec.name!r} gives none")
        self._nbest = nbest
        self._rules = EndpointConfig() if endpoint is None else endpoint
        self._frame_seconds = bundle.spec.frame_seconds
        self._format: Formatter = lower_case if formatter is None else formatter
        self._kept: list[LogProbs] | None = [] if keep_log_probs else None
        self._width = bundle.spec.tokens.size
        self._samples = 0
        self._seconds = 0.0
        self._piece = 0
        self._piece_chunk = 0  # its first chunk
        self._audio_end = 0  # first frame after the audio decided so far
        self._chunks: list[ChunkResult] = []
        self._version = 0  # of what is decided
        self._partials: tuple[tuple[int, int], Partial] | None = None  # the last one, and what it was made of
        self._last: tuple[int, int | None] | None = None  # a version, and its last token's frame
        # The decoder counts frames on, also those of a piece's tail, which take no time: where each chunk begins
        # in its count, its first frame in the audio, and the first frame after the audio known by then.
        self._places: list[tuple[int, int, int]] = []
        self._decoded = 0
        self._closed = False

    def feed(self, pcm: npt.NDArray[Any]) -> None:
        """Takes more audio.

        Args:
            pcm: (N,) or (N, channels), int16 or float in [-1, 1], at the stream's rate. Any N, also 0.

        Raises:
            AudioError: For another type or shape, NaN or infinity; nothing of the array is taken then.
            StreamClosedError: After `finish`.
            NumericError: If a graph's output isn't a number.
        """
        started = time.perf_counter()
        self._check_open()
        pcm = check_pcm(pcm)
        size = max(1, int(BLOCK_SECONDS * self._rate))
        for start in range(0, len(pcm), size):
            mono = to_mono(pcm[start : start + size])
            self._samples += len(mono)
            self._arrive(self._encoder.push(self._resampler.push(mono)))
        self._seconds += time.perf_counter() - started

    @property
    def partial(self) -> str:
        """The text so far: decided chunks, then exit 1's view of what isn't decided yet (it may change)."""
        return self._format(self._partial().text)

    @property
    def stable(self) -> str:
        """The part of `partial` that is unlikely to change: what to show in black, the rest in grey."""
        partial = self._partial()
        return self._format(" ".join(partial.text.split()[: partial.stable]))

    @property
    def endpoint(self) -> bool:
        """Whether the utterance seems to be over; time to call `finish` and to start another stream."""
        if self._last is None or self._last[0] != self._version:
            self._last = self._version, self._decoding.last_token_frame
        last = self._last[1]
        return self._rules.reached(self._audio_end * self._frame_seconds, None if last is None else self._time(last))

    def _partial(self) -> Partial:
        """Decoded again only when there are further frames."""
        provisional = self._encoder.provisional(phones=self._decoding.phones)
        made_of = self._version, len(provisional)
        if self._partials is None or self._partials[0] != made_of:
            self._partials = made_of, self._decoding.partial(provisional)
        return self._partials[1]

    @property
    def log_probs(self) -> LogProbs:
        """The splice so far, (T, V).

        Raises:
            OptionError: If the stream doesn't keep it.
        """
        if self._kept is None:
            raise OptionError("keep_log_probs=False: the splice wasn't kept; ask for it when the stream is made")
        return np.concatenate([np.zeros((0, self._width), dtype=np.float32), *self._kept])

    def finish(self) -> Transcript:
        """Ends the audio: computes the tail, so that the last word isn't lost, and gives the result.

        Raises:
            AudioError: If no sample was fed.
            StreamClosedError: If called twice.
        """
        started = time.perf_counter()
        self._check_open()
        if not self._samples:
            raise AudioError("the audio is empty: no sample was fed")
        self._closed = True
        self._arrive(self._encoder.push(self._resampler.finish()))
        self._arrive(self._encoder.flush())
        duration = self._samples / self._rate
        frames = sum(chunk.frames for chunk in self._chunks)
        decoded = self._decoding.result(self._nbest)
        pieces = self._decoding.pieces
        times = (min(duration, self._time(token.frame)) for token in decoded.tokens)
        tokens = (TokenResult(t.id, pieces[t.id], at, t.log_prob) for t, at in zip(decoded.tokens, times, strict=True))
        words = tuple(self._word(word, duration) for word in decoded.words)
        alternatives = (Alternative(self._format(one.text), one.score) for one in decoded.alternatives)
        self._seconds += time.perf_counter() - started
        return Transcript(
            text=self._format(decoded.text),
            duration=duration,
            seconds=self._seconds,
            rtf=self._seconds / duration,
            mean_exit=sum(chunk.exit * chunk.frames for chunk in self._chunks) / max(1, frames),
            chunks=tuple(self._chunks),
            tokens=tuple(tokens),
            words=words,
            alternatives=tuple(alternatives),
        )

    def _word(self, word: Word, duration: float) -> WordResult:
        start, end = (min(duration, self._time(frame)) for frame in (word.start, word.end))
        chunk = self._chunks[self._place(word.start)]
        exit = chunk.exit if chunk.final_exit is None else chunk.final_exit
        return WordResult(self._format(word.word), start, max(start, end), word.confidence, exit)

    def _place(self, frame: int) -> int:
        """The chunk of a frame in the decoder's count."""
        return max(0, bisect_right(self._places, frame, key=lambda place: place[0]) - 1)

    def _time(self, frame: int) -> float:
        """The seconds of audio at a frame in the decoder's count."""
        begin, first, end = self._places[self._place(frame)]
        return min(first + frame - begin, end) * self._frame_seconds

    def _check_open(self) -> None:
        if self._closed:
            raise StreamClosedError("the stream was finished; start another one")

    def revisit(self) -> None:
        """Spends what the budget has left over on unsure chunks, now: for a host that is idle.

        At the end of each piece of audio, and of all, this happens by itself.

        Raises:
            StreamClosedError: After `finish`.
        """
        self._check_open()
        self._arrive(self._encoder.revisit())

    def _observe(self, chunk: DecidedChunk) -> None:
        # At a cheaper level other chunks come to an exit than in calibration.
        place = self._monitor_place if self._controller is None or self._controller.level == 0 else None
        missed = self._controller is not None and self._controller.observe(chunk)
        if self._monitor is not None:
            self._monitor.observe(chunk, place, self._frame_seconds, missed)

    def _spent(self, seconds: float, frames: int = 0) -> None:
        """Counts time that isn't a chunk's segments: decoding so many frames, or a second pass (0)."""
        if self._controller is not None:
            self._controller.spent(seconds, frames)
        if self._monitor is not None:
            self._monitor.spent(seconds)

    def _arrive(self, decided: list[DecidedChunk]) -> None:
        """Takes chunks; one that comes again replaces what it was."""
        self._version += bool(decided)
        for chunk in decided:
            if not chunk.revisited:
                self._take([chunk])
                continue
            if chunk.whole:
                self._finalise(chunk)
                continue
            number = len(self._places) - 1
            while self._places[number][1] != chunk.first_frame:
                number -= 1
            before, taken = self._chunks[number], chunk.stats[chunk.exit - 1]
            self._chunks[number] = replace(
                before,
                exit=chunk.exit,
                entropy=taken.entropy,
                max_posterior=taken.max_posterior,
                criteria=chunk.stats,
            )
            started = self._clock()
            self._decoding.replace(number, self._heard(chunk))
            self._spent(self._clock() - started)
            if self._kept is not None:
                self._kept[number] = chunk.log_probs
            if self._monitor is not None:
                self._monitor.revisited(chunk, before.exit, sum(chunk.segment_seconds[before.exit :]) + chunk.deciding)

    def _take(self, decided: list[DecidedChunk]) -> None:
        for chunk in decided:
            if chunk.piece != self._piece:
                self._piece = chunk.piece
                self._piece_chunk = len(self._chunks)
                self._decoding.boundary(final=self._final)  # pieces are cut where it is silent: between words
            if chunk.n_audio:
                self._audio_end = chunk.first_frame + chunk.n_audio
            self._chunks.append(self._record(chunk))
            self._places.append((self._decoded, chunk.first_frame, self._audio_end))
            self._decoded += len(chunk.log_probs)
            started = self._clock()
            self._decoding.push(self._heard(chunk))
            self._spent(self._clock() - started, len(chunk.log_probs))
            if self._kept is not None:
                self._kept.append(chunk.log_probs)

    def _heard(self, chunk: DecidedChunk) -> LogProbs:
        """What the decoder reads of a chunk."""
        if self._decoding.phones:
            assert chunk.phones is not None
            return chunk.phones
        return chunk.log_probs

    def _finalise(self, whole: DecidedChunk) -> None:
        """Takes a second pass in the place of all chunks of the piece."""
        started = self._clock()
        self._decoding.restart(self._heard(whole))
        self._spent(whole.seconds + self._clock() - started)
        first = self._piece_chunk
        sizes = [chunk.frames for chunk in self._chunks[first:]]
        self._chunks[first:] = [replace(chunk, final_exit=whole.exit) for chunk in self._chunks[first:]]
        if self._kept is not None:
            self._kept[first:] = np.split(whole.log_probs, np.cumsum(sizes)[:-1])

    def _record(self, chunk: DecidedChunk) -> ChunkResult:
        start = min(chunk.first_frame, self._audio_end) * self._frame_seconds
        end = min(self._audio_end * self._frame_seconds, self._samples / self._rate)
        taken = chunk.stats[chunk.exit - 1]
        return ChunkResult(
            start=min(start, end),
            end=end,
            frames=chunk.n_valid,
            exit=chunk.exit,
            entropy=taken.entropy,
            max_posterior=taken.max_posterior,
            criteria=chunk.stats,
        )

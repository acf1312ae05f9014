"""A live recognition: audio in as it comes, text out as it gets known."""

from __future__ import annotations

import time
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.audio.pcm import check_pcm, to_mono
from edge_asr.audio.resampler import Resampler, check_rate
from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.schema import FULL
from edge_asr.decoding.greedy import GreedyDecoder
from edge_asr.decoding.text import Formatter, lower_case
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import AudioError, OptionError, StreamClosedError
from edge_asr.exits.policy import Policy
from edge_asr.runtime.controller import BudgetController
from edge_asr.runtime.decided_chunk import DecidedChunk, LogProbs
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.engine import Engine
from edge_asr.runtime.monitor import Monitor
from edge_asr.runtime.transcript import ChunkResult, TokenResult, Transcript

BLOCK_SECONDS = 1.0
"""Long arrays are taken in blocks of this length, so that temporary memory stays small."""


class Stream:
    """One recognition in progress; made by `Recognizer.stream`. Not for several threads at once.

    However the audio is cut into calls, text and exits are the same.

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
    ) -> None:
        self._rate = check_rate(sample_rate)
        self._resampler = Resampler(self._rate, bundle.spec.sample_rate)
        self._controller, self._monitor = controller, monitor
        self._chunk_name = FULL if chunk_frames is None else str(bundle.spec.chunk_ms(chunk_frames))
        self._current: list[DecidedChunk] = []  # of the piece, to be taken again if some of it is revisited
        self._mark = (0, 0, 0)  # text, chunks and tokens when the piece began
        self._encoder = EncoderStream(
            bundle,
            engine,
            policy if controller is None else controller,
            chunk_frames=chunk_frames,
            keep=0 if controller is None else controller.keep,
            observe=self._observe,
            reviser=controller,
            clock=time.perf_counter if controller is None else controller.clock,
        )
        self._decoder = GreedyDecoder(bundle.spec.tokens.blank)
        self._frame_seconds = bundle.spec.frame_seconds
        self._table = tokens
        self._format: Formatter = lower_case if formatter is None else formatter
        self._kept: list[LogProbs] | None = [] if keep_log_probs else None
        self._width = bundle.spec.tokens.size
        self._samples = 0
        self._seconds = 0.0
        self._text = ""  # of the decided chunks, with a space before each word
        self._piece = 0
        self._audio_end = 0  # first frame after the audio decided so far
        self._chunks: list[ChunkResult] = []
        self._tokens: list[TokenResult] = []
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
        provisional = self._decoder.peek(self._encoder.provisional())
        return self._finished_text(self._text + self._table.join(token.id for token in provisional))

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
        self._seconds += time.perf_counter() - started
        return Transcript(
            text=self._finished_text(self._text),
            duration=duration,
            seconds=self._seconds,
            rtf=self._seconds / duration,
            mean_exit=sum(chunk.exit * chunk.frames for chunk in self._chunks) / max(1, frames),
            chunks=tuple(self._chunks),
            tokens=tuple(self._tokens),
        )

    def _check_open(self) -> None:
        if self._closed:
            raise StreamClosedError("the stream was finished; start another one")

    def _finished_text(self, text: str) -> str:
        return self._format(" ".join(text.split()))

    def revisit(self) -> None:
        """Spends what the budget has left over on unsure chunks, now: for a host that is idle.

        At the end of each piece of audio, and of all, this happens by itself.

        Raises:
            StreamClosedError: After `finish`.
        """
        self._check_open()
        self._arrive(self._encoder.revisit())

    def _observe(self, chunk: DecidedChunk) -> None:
        limit = None
        if self._controller is not None:
            limit = self._controller.limit(chunk.n_valid)
            self._controller.observe(chunk)
        if self._monitor is not None:
            self._monitor.observe(chunk, self._chunk_name, self._frame_seconds, limit)

    def _arrive(self, decided: list[DecidedChunk]) -> None:
        """Takes chunks; those that come again replace what they were, and their piece is decoded once more."""
        for again, chunks in groupby(decided, key=lambda chunk: chunk.revisited):
            if not again:
                for chunk in chunks:
                    if not self._current or chunk.piece != self._current[-1].piece:
                        self._current = []
                        self._mark = (len(self._text), len(self._chunks), len(self._tokens))
                    if self._controller is not None:
                        self._current.append(chunk)
                    self._take([chunk])
                continue
            for chunk in chunks:
                place = next(i for i, old in enumerate(self._current) if old.first_frame == chunk.first_frame)
                if self._monitor is not None:
                    left = self._current[place].exit
                    self._monitor.revisited(chunk, left, sum(chunk.segment_seconds[left:]))
                self._current[place] = chunk
            text, at, tokens = self._mark
            self._text = self._text[:text] + (" " if self._piece else "")
            del self._chunks[at:], self._tokens[tokens:]
            if self._kept is not None:
                del self._kept[at:]
            self._decoder.boundary()
            self._take(self._current)

    def _take(self, decided: list[DecidedChunk]) -> None:
        for chunk in decided:
            if chunk.piece != self._piece:
                self._piece = chunk.piece
                self._decoder.boundary()
                self._text += " "  # pieces are cut where it is silent: between words
            if chunk.n_audio:
                self._audio_end = chunk.first_frame + chunk.n_audio
            self._chunks.append(self._record(chunk))
            tokens = self._decoder.push(chunk.log_probs, chunk.first_frame)
            self._text += self._table.join(token.id for token in tokens)
            for token in tokens:
                seconds = min(token.frame, self._audio_end) * self._frame_seconds
                self._tokens.append(TokenResult(token.id, self._table.pieces[token.id], seconds, token.log_prob))
            if self._kept is not None:
                self._kept.append(chunk.log_probs)

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

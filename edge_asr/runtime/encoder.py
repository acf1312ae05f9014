"""The encoder on audio of any length: pieces, one utterance each, in one continuous count of frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from edge_asr.audio.cutter import Cutter, Part, QuietCutter, SilenceCutter
from edge_asr.audio.pcm import Mono
from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.schema import BundleSpec
from edge_asr.errors import OptionError, StreamClosedError
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView
from edge_asr.runtime.decided_chunk import DecidedChunk, LogProbs
from edge_asr.runtime.engine import Engine
from edge_asr.runtime.utterance import Clock, UtteranceEncoder, max_full_samples

RESTART_SECONDS = 20.0
"""A piece this long ends at the next silence."""
SILENCE_SECONDS = 0.4
QUIET_SECONDS = 0.2


class Reviser(Protocol):
    """Decides which chunks that left early go on, and how far: a policy that is also asked at a piece's end."""

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Decides as a policy does, from the exit on at which the chunk left."""
        ...

    def revisits(self) -> Iterator[int]:
        """Gives the numbers of the chunks to go on with, one after another for as long as it can be afforded."""
        ...

    def revisited(self, index: int, chunk: DecidedChunk) -> None:
        """Is told how a chunk is now."""
        ...

    def boundary(self) -> None:
        """Is told that a piece has ended: its chunks can't be revisited any more."""
        ...


class EncoderStream:
    """Encodes PCM chunk by chunk, as it comes.

    Long audio is cut into pieces: in chunked modes at the first silence of 0.4 s once a piece has 20 s, in
    ``full`` mode at the quietest 0.2 s where a piece would get longer than the bundle allows. Each piece has
    its tail flushed and begins with a fresh encoder; frames are counted on. Memory doesn't grow with the
    length.

    Args:
        bundle: The bundle.
        engine: Runs its graphs.
        policy: Decides where a chunk leaves.
        chunk_frames: Frames in a chunk, one of the bundle's; None for ``full``.
        all_exits: Run every segment on each chunk; what the policy would have taken is reported all the same.
        keep: How many chunks that left early can be revisited, the last ones of a piece.
        observe: Is told of each chunk when it is decided.
        reviser: Decides at a piece's end which chunks go on; see `Reviser`.
        clock: Gives seconds.
        second_pass: At a piece's end the deeper segments run once over all of it, to where this policy says; the
            last chunk given is then the whole piece. Not for ``full`` mode, nor for pieces longer than that allows.

    Raises:
        OptionError: If the bundle doesn't allow the chunk size, or there is a second pass in ``full`` mode.

    Example:
        >>> stream = EncoderStream(bundle, engine, FixedPolicy(3), chunk_frames=16)  # doctest: +SKIP
        >>> chunks = stream.push(pcm) + stream.flush()  # doctest: +SKIP
        >>> np.concatenate([chunk.log_probs for chunk in chunks])  # the splice  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        policy: Policy,
        *,
        chunk_frames: int | None,
        all_exits: bool = False,
        keep: int = 0,
        observe: Callable[[DecidedChunk], None] = lambda chunk: None,
        reviser: Reviser | None = None,
        clock: Clock = time.perf_counter,
        second_pass: Policy | None = None,
    ) -> None:
        spec = bundle.spec
        if second_pass is not None and chunk_frames is None:
            raise OptionError("second_pass: full mode sees the whole piece already; expected a chunk size")
        self._second_pass = second_pass
        if chunk_frames is not None and chunk_frames not in spec.chunks.allowed:
            allowed = ", ".join(map(str, spec.chunks.allowed))
            raise OptionError(f"chunk_frames={chunk_frames!r}: bundle {spec.name!r} allows {allowed}, or None for full")
        self._spec, self._engine, self._policy = spec, engine, policy
        self._chunk_frames, self._all_exits = chunk_frames, all_exits
        self._keep, self._observe, self._reviser, self._clock = keep, observe, reviser, clock
        self._cutter = _cutter(spec, full=chunk_frames is None)
        self._closed = False
        self._utterance = self._start(piece=0, first_frame=0)
        self._piece, self._first_frame = 0, 0

    def push(self, pcm: Mono) -> list[DecidedChunk]:
        """Takes samples (N,), float32 at the bundle's rate, and gives the chunks that they complete.

        Raises:
            StreamClosedError: After `flush`.
            NumericError: If a graph's output isn't a number.
        """
        self._check_open()
        return self._encode(self._cutter.push(pcm))

    def flush(self) -> list[DecidedChunk]:
        """Ends the audio and gives the remaining chunks, tail included.

        Raises:
            StreamClosedError: If called twice.
        """
        self._check_open()
        decided = self._encode(self._cutter.finish()) + self._end()
        self._closed = True
        return decided

    def _end(self) -> list[DecidedChunk]:
        """Ends the current piece."""
        decided = self._utterance.flush() + self.revisit()
        whole = None if self._second_pass is None else self._utterance.second_pass(self._second_pass)
        return decided if whole is None else [*decided, whole]

    def revisit(self) -> list[DecidedChunk]:
        """Goes on with chunks of the current piece that left early, as the reviser says; none without one."""
        if self._reviser is None:
            return []
        revisited: list[DecidedChunk] = []
        for index in self._reviser.revisits():
            chunk = self._utterance.revisit(index, self._reviser)
            if chunk is not None:
                self._reviser.revisited(index, chunk)
                revisited.append(chunk)
        return revisited

    def provisional(self, *, phones: bool = False) -> LogProbs:
        """Gives exit 1's log-probabilities (T, V), or those of phones (T, P), of the frames that aren't decided yet."""
        return self._utterance.provisional(phones=phones)

    def _check_open(self) -> None:
        if self._closed:
            raise StreamClosedError("the encoder stream was flushed; start another one")

    def _start(self, piece: int, first_frame: int) -> UtteranceEncoder:
        return UtteranceEncoder(
            self._spec,
            self._engine,
            self._policy,
            chunk_frames=self._chunk_frames,
            all_exits=self._all_exits,
            piece=piece,
            first_frame=first_frame,
            keep=self._keep,
            observe=self._observe,
            clock=self._clock,
            record=self._second_pass is not None,
        )

    def _encode(self, parts: list[Part]) -> list[DecidedChunk]:
        decided: list[DecidedChunk] = []
        for part in parts:
            decided += self._utterance.push(part.pcm)
            if part.ends:
                decided += self._end()
                if self._reviser is not None:
                    self._reviser.boundary()
                self._piece += 1
                self._first_frame += self._utterance.samples // self._spec.frontend.hop  # pieces are whole frames
                self._utterance = self._start(self._piece, self._first_frame)
        return decided


def _cutter(spec: BundleSpec, *, full: bool) -> Cutter:
    def hops(seconds: float) -> int:
        return round(seconds / spec.frame_seconds)

    hop = spec.frontend.hop
    if full:
        return QuietCutter(hop, max_full_samples(spec), hops(QUIET_SECONDS))
    return SilenceCutter(hop, hops(RESTART_SECONDS), hops(SILENCE_SECONDS))

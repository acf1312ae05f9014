"""What every exit says about an utterance, recorded in one pass: every policy's result is a gather of it.

A deep segment's result for a chunk does not depend on where other chunks left, so all exits can be run once
and any choice of exits can be looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_asr.audio.pcm import Mono
from edge_asr.audio.reader import AudioReader
from edge_asr.audio.resampler import Resampler
from edge_asr.decoding.decoding import Decoded, Decoding, GreedyDecoding
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.exits.view import ExitView, mean_stats
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.recognizer import Recognizer


class Corruption(Protocol):
    """Changes an utterance's audio, (N,) at the model's rate, and keeps its length."""

    @property
    def identity(self) -> str:
        """Names all that the change depends on besides the utterance; a recorded pass is kept under it."""

    def __call__(self, utterance: Utterance, pcm: Mono) -> Mono:
        """Gives the changed audio."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedChunk:
    """One chunk with the results of all its exits.

    Args:
        info: which chunk of its piece it is.
        frames: (exits, n_valid, 4) per-frame stats, as `ExitStats` names them.
        log_probs: (exits, n_valid, V) log-probabilities.
        piece: which piece of the audio it is in; the encoder and the decoder start anew with a piece.
        seconds: wall time of each segment on this chunk.
        blank: id of the blank.
        phones: (exits, n_valid, P) log-probabilities of phones, where the bundle has them.
    """

    info: ChunkInfo
    frames: npt.NDArray[np.float32]
    log_probs: npt.NDArray[np.float32]
    piece: int = 0
    seconds: tuple[float, ...] = ()
    blank: int = 0
    phones: npt.NDArray[np.float32] | None = None

    @property
    def stats(self) -> tuple[ExitStats, ...]:
        """Mean stats of each exit."""
        return tuple(mean_stats(frames) for frames in self.frames)

    def views(self) -> list[ExitView]:
        """What criteria look at, for each exit."""
        views: list[ExitView] = []
        seconds = self.seconds or (0.0,) * len(self.frames)
        for exit, (frames, log_probs) in enumerate(zip(self.frames, self.log_probs, strict=True), start=1):
            before = views[-1] if views else None
            views.append(ExitView.of(exit, frames, log_probs, before, seconds[exit - 1], self.blank))
        return views

    def leave(self, policy: Policy, previous_exit: int = 0) -> int:
        """The exit, from 1, at which a policy stops; it is asked as the runtime asks it."""
        info = replace(self.info, previous_exit=previous_exit)
        views = self.views()
        for view in views[:-1]:
            if policy.stop(view, info):
                return view.exit
        return len(views)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """An utterance's chunks in order, with the results of all exits.

    Args:
        utterance: what was recorded.
        seconds: its length.
        chunks: its chunks.
    """

    utterance: Utterance
    seconds: float
    chunks: tuple[RecordedChunk, ...]

    def leave(self, policy: Policy) -> tuple[int, ...]:
        """The exit at which each chunk leaves under a policy."""
        taken: list[int] = []
        for number, chunk in enumerate(self.chunks):
            same_piece = number > 0 and self.chunks[number - 1].piece == chunk.piece
            taken.append(chunk.leave(policy, taken[-1] if same_piece else 0))
        return tuple(taken)

    def text(self, exits: int | Sequence[int], tokens: TokenTable, blank: int = 0) -> str:
        """Decode a splice greedily; as `decode`, with the model's tokens and the id of the blank."""
        return self.decode(exits, GreedyDecoding(tokens.pieces, blank)).text

    def decode(self, exits: int | Sequence[int], decoding: Decoding) -> Decoded:
        """Decode a splice, as a `Stream` does.

        Args:
            exits: the exit of every chunk, or one for all.
            decoding: a fresh decoding.

        Returns:
            The words, as the model spells them.

        Raises:
            OptionError: there is not one exit for each chunk, or the decoding reads phones and there are none.
        """
        taken = [exits] * len(self.chunks) if isinstance(exits, int) else list(exits)
        if len(taken) != len(self.chunks):
            raise OptionError(f"{len(taken)} exits for {len(self.chunks)} chunks; one for each is needed")
        before = 0
        for chunk, exit in zip(self.chunks, taken, strict=True):
            if chunk.piece != before:
                decoding.boundary()
            before = chunk.piece
            said = chunk.phones if decoding.phones else chunk.log_probs
            if said is None:
                raise OptionError("decoder reads phones, and none were recorded; expected one that reads word pieces")
            decoding.push(said[exit - 1])
        return decoding.result()


def record(
    recognizer: Recognizer, utterance: Utterance, chunk: int | str = 640, corrupt: Corruption | None = None
) -> Recording:
    """Run all exits on one utterance.

    Args:
        recognizer: a loaded model.
        utterance: what to record; its audio is read and resampled as `Recognizer.transcribe` does.
        chunk: chunk size in ms, or `"full"`.
        corrupt: changes the audio first (noise, rooms), all of it at the model's sample rate.

    Raises:
        AudioNotFoundError, AudioError: the audio is not there, or not audio.
        OptionError: the bundle does not allow the chunk size.
        NumericError: a graph's output is not a number.

    Example:
        >>> recording = record(Recognizer.load("en-tiny"), utterance)  # doctest: +SKIP
        >>> [recording.text(exit, recognizer.tokens) for exit in range(1, 7)]  # doctest: +SKIP
    """
    bundle, chunk_frames = recognizer.bundle, recognizer.chunk_frames(chunk)
    depth = FixedPolicy(bundle.spec.encoder.exits)
    stream = EncoderStream(bundle, recognizer.engine, depth, chunk_frames=chunk_frames, all_exits=True)
    decided: list[DecidedChunk] = []
    samples = 0
    with AudioReader(utterance.audio) as reader:
        resampler = Resampler(reader.sample_rate, bundle.spec.sample_rate)
        parts: list[Mono] = []
        for block in reader.blocks():
            samples += len(block)
            parts.append(resampler.push(block))
            if corrupt is None:
                decided += stream.push(parts.pop())
        parts.append(resampler.finish())
        pcm = np.concatenate(parts)
        decided += stream.push(pcm if corrupt is None else corrupt(utterance, pcm))
        decided += stream.flush()
        seconds = samples / reader.sample_rate
    return Recording(utterance, seconds, tuple(_recorded(decided, chunk_frames, bundle.spec.tokens.blank)))


def _recorded(decided: Iterable[DecidedChunk], chunk_frames: int | None, blank: int) -> Iterable[RecordedChunk]:
    for number, piece in groupby(decided, key=lambda chunk: chunk.piece):
        first_frame = 0  # in its piece, as policies are told
        for index, chunk in enumerate(piece):
            assert chunk.all_log_probs is not None
            info = ChunkInfo(index, first_frame, chunk.n_valid, chunk_frames, len(chunk.stats))
            frames = np.stack([view.frames for view in chunk.views])
            said = [view.phones for view in chunk.views if view.phones is not None]
            phones = np.stack(said) if said else None
            yield RecordedChunk(info, frames, chunk.all_log_probs, number, chunk.segment_seconds, blank, phones)
            first_frame += chunk.n_valid

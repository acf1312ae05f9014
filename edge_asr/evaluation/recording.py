"""What every exit says about an utterance, recorded in one pass: every policy's result is a gather of it.

A deep segment's result for a chunk does not depend on where other chunks left, so all exits can be run once
and any choice of exits can be looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from edge_asr.audio.reader import AudioReader
from edge_asr.audio.resampler import Resampler
from edge_asr.decoding.decoding import Decoded, Decoding, GreedyDecoding
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.recognizer import Recognizer


@dataclass(frozen=True, slots=True, eq=False)
class RecordedChunk:
    """One chunk with the results of all its exits.

    Args:
        info: which chunk of its piece it is.
        stats: mean stats of each exit.
        log_probs: (exits, n_valid, V) log-probabilities.
        piece: which piece of the audio it is in; the encoder and the decoder start anew with a piece.
    """

    info: ChunkInfo
    stats: tuple[ExitStats, ...]
    log_probs: npt.NDArray[np.float32]
    piece: int = 0

    def leave(self, policy: Policy) -> int:
        """The exit, from 1, at which a policy stops; it is asked as the runtime asks it."""
        for exit in range(1, len(self.stats)):
            if policy.stop(exit, self.stats[exit - 1], self.info):
                return exit
        return len(self.stats)


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
        return tuple(chunk.leave(policy) for chunk in self.chunks)

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
            OptionError: there is not one exit for each chunk.
        """
        taken = [exits] * len(self.chunks) if isinstance(exits, int) else list(exits)
        if len(taken) != len(self.chunks):
            raise OptionError(f"{len(taken)} exits for {len(self.chunks)} chunks; one for each is needed")
        before = 0
        for chunk, exit in zip(self.chunks, taken, strict=True):
            if chunk.piece != before:
                decoding.boundary()
            before = chunk.piece
            decoding.push(chunk.log_probs[exit - 1])
        return decoding.result()


def record(recognizer: Recognizer, utterance: Utterance, chunk: int | str = 640) -> Recording:
    """Run all exits on one utterance.

    Args:
        recognizer: a loaded model.
        utterance: what to record; its audio is read and resampled as `Recognizer.transcribe` does.
        chunk: chunk size in ms, or `"full"`.

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
        for block in reader.blocks():
            samples += len(block)
            decided += stream.push(resampler.push(block))
        decided += stream.push(resampler.finish())
        decided += stream.flush()
        seconds = samples / reader.sample_rate
    return Recording(utterance, seconds, tuple(_recorded(decided, chunk_frames)))


def _recorded(decided: Iterable[DecidedChunk], chunk_frames: int | None) -> Iterable[RecordedChunk]:
    for number, piece in groupby(decided, key=lambda chunk: chunk.piece):
        first_frame = 0  # in its piece, as policies are told
        for index, chunk in enumerate(piece):
            assert chunk.all_log_probs is not None
            info = ChunkInfo(index, first_frame, chunk.n_valid, chunk_frames, len(chunk.stats))
            yield RecordedChunk(info, chunk.stats, chunk.all_log_probs, number)
            first_frame += chunk.n_valid

"""Long audio: pieces begin afresh, times go on, memory stays flat."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import groupby
from typing import ClassVar, cast

import numpy as np
import pytest

from edge_asr.audio.pcm import Mono
from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.recognizer import Recognizer
from edge_asr.runtime.utterance import max_full_samples
from tests.runtime.helpers import PatternPolicy, Setup, noise
from tests.runtime.reference import parallel_forward

RATE = 16_000


def speech_like(seconds: int, pause_every: int = 7) -> Iterator[Mono]:
    """Seconds of noise, each ``pause_every``-th one silent."""
    for second in range(seconds):
        yield noise(RATE, seed=second) * np.float32(1e-4 if second % pause_every == pause_every - 1 else 1.0)


def test_chunked_audio_is_cut_at_silences_and_each_piece_begins_afresh(usual: Setup) -> None:
    pcm = np.concatenate(list(speech_like(60)))
    stream = EncoderStream(usual.bundle, usual.engine, PatternPolicy([2, 3, 1]), chunk_frames=16)
    chunks = [chunk for piece in np.array_split(pcm, 91) for chunk in stream.push(piece)] + stream.flush()
    pieces = [list(group) for _, group in groupby(chunks, key=lambda chunk: chunk.piece)]
    # 20 s and then 0.4 s of silence: the silences at 20, 41 (21 - 0.2 s later) s are cut after 0.2 s
    starts = [piece[0].first_frame for piece in pieces]
    assert starts == [0, 20 * 25 + 5, 41 * 25 + 5]
    ends = [*starts[1:], 60 * 25]
    for piece, start, end in zip(pieces, starts, ends, strict=True):
        reference = parallel_forward(usual.bundle.spec, usual.engine, pcm[start * 640 : end * 640], 16)
        for chunk, expected in zip(piece, reference, strict=True):
            assert chunk.first_frame == start + expected.first_frame
            np.testing.assert_allclose(chunk.log_probs, expected.log_probs[chunk.exit - 1], atol=1e-4)
        assert sum(chunk.n_audio for chunk in piece) == end - start


def test_audio_without_silence_goes_on(usual: Setup) -> None:
    stream = EncoderStream(usual.bundle, usual.engine, FixedPolicy(1), chunk_frames=16)
    chunks = [chunk for second in range(50) for chunk in stream.push(noise(RATE, seed=second))] + stream.flush()
    assert {chunk.piece for chunk in chunks} == {0}


def test_full_mode_pieces_fit_and_are_complete(setup: Setup) -> None:
    spec = setup.bundle.spec
    most = max_full_samples(spec)
    pcm = noise(int(most * 3.3))
    stream = EncoderStream(setup.bundle, setup.engine, FixedPolicy(2), chunk_frames=None)
    chunks = [chunk for piece in np.array_split(pcm, 37) for chunk in stream.push(piece)] + stream.flush()
    assert len(chunks) >= 4
    assert [chunk.piece for chunk in chunks] == list(range(len(chunks)))
    assert sum(chunk.n_audio for chunk in chunks) == -(-len(pcm) // spec.frontend.hop)
    for chunk in chunks:
        assert chunk.n_valid <= spec.chunks.full_max_frames
        start = chunk.first_frame * spec.frontend.hop
        piece = pcm[start : start + chunk.n_audio * spec.frontend.hop]
        (expected,) = parallel_forward(spec, setup.engine, piece, None)
        np.testing.assert_allclose(chunk.log_probs, expected.log_probs[1], atol=1e-4)


def test_the_longest_full_piece_is_not_cut(setup: Setup) -> None:
    most = max_full_samples(setup.bundle.spec)
    for samples, pieces in ((most, 1), (most + 1, 2)):
        stream = EncoderStream(setup.bundle, setup.engine, FixedPolicy(1), chunk_frames=None)
        assert len(stream.push(noise(samples)) + stream.flush()) == pieces


@pytest.mark.parametrize("chunk", [640, "full"])
def test_times_go_on_over_pieces(recognizer: Recognizer, chunk: int | str) -> None:
    stream = recognizer.stream(chunk=chunk, exit=2)
    for pcm in speech_like(45):
        stream.feed(pcm)
    transcript = stream.finish()
    times = [token.time for token in transcript.tokens]
    assert times == sorted(times)
    assert 44 < times[-1] <= 45
    ends = [chunk.end for chunk in transcript.chunks]
    assert ends == sorted(ends)
    assert ends[-1] == 45.0
    assert all(chunk.start <= chunk.end for chunk in transcript.chunks)
    covered = sum(chunk.end - chunk.start for chunk in transcript.chunks)
    assert covered == pytest.approx(45.0)


def test_endpoints_go_by_the_time_of_the_audio(recognizer: Recognizer) -> None:
    """The tails of pieces are frames of the decoder's, and no silence."""

    class Rules:
        heard: ClassVar[list[tuple[float, float | None]]] = []

        def reached(self, seconds: float, last_token: float | None) -> bool:
            self.heard.append((seconds, last_token))
            return False

    stream = recognizer.stream(exit=2)
    stream._rules = cast("EndpointConfig", Rules())
    for pcm in speech_like(45):
        stream.feed(pcm)
        assert not stream.endpoint
        if stream._chunks:
            assert Rules.heard[-1][0] == pytest.approx(stream._chunks[-1].end)
    assert stream._piece == 2
    times = {token.time for token in stream.finish().tokens}
    assert {last for _, last in Rules.heard if last is not None} <= times


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_no_token_begins_after_the_audio(recognizer: Recognizer, decoder: str) -> None:
    for samples in range(16_010, 16_640, 90):
        transcript = recognizer.transcribe(noise(samples, seed=samples), exit=2, decoder=decoder)
        assert max(token.time for token in transcript.tokens) <= transcript.duration


LOUD, STILL = noise(RATE), noise(RATE, level=1e-4)


@pytest.mark.parametrize(("chunk_frames", "pause_every"), [(32, 7), (32, 10_000), (None, 7)])
def test_the_encoder_holds_the_same_memory_after_minutes(
    usual: Setup, chunk_frames: int | None, pause_every: int
) -> None:
    stream = EncoderStream(usual.bundle, usual.engine, FixedPolicy(2), chunk_frames=chunk_frames)
    held = []
    tracemalloc.start()
    try:
        for second in range(1, 181):
            stream.push(STILL if second % pause_every == 0 else LOUD)
            if second % 20 == 0:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(held[2:]) - max(held[:2]) < 50_000  # the audio of the minutes between has 9 MB
    assert peak < 4_000_000


def test_a_stream_grows_by_its_records_alone(recognizer: Recognizer) -> None:
    stream = recognizer.stream(exit=2)
    held = []
    tracemalloc.start()
    try:
        for second in range(1, 181):
            stream.feed(STILL if second % 7 == 0 else LOUD)
            if second in (60, 180):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert (held[1] - held[0]) / 120 < 6_000  # bytes a second; the audio itself has 64,000

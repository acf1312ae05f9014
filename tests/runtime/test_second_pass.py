"""A second pass over a whole piece is what full mode computes, and takes the place of the splice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_asr import Recognizer
from edge_asr.errors import OptionError
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.controller import BudgetController
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.monitor import Monitor
from edge_asr.runtime.segment_costs import SegmentCosts
from edge_asr.runtime.stream import Stream
from tests.fake_bundle import Sizes, write_fake_bundle
from tests.runtime.fake_device import FakeClock, FakeEngine
from tests.runtime.helpers import PatternPolicy, Setup, noise


def passes(setup: Setup, seconds: float, exits: list[int], final: int) -> Iterator[list[DecidedChunk]]:
    pcm = noise(int(setup.bundle.spec.sample_rate * seconds))
    for chunk in setup.bundle.spec.chunks.allowed:
        stream = EncoderStream(
            setup.bundle,
            setup.engine,
            PatternPolicy(exits),
            chunk_frames=chunk,
            second_pass=FixedPolicy(final),
        )
        yield stream.push(pcm) + stream.flush()


@pytest.mark.parametrize("final", [1, 2, 3])
def test_it_is_full_mode_wherever_chunks_left(setup: Setup, final: int) -> None:
    stream = EncoderStream(setup.bundle, setup.engine, FixedPolicy(final), chunk_frames=None)
    pcm = noise(setup.bundle.spec.sample_rate)
    (full,) = stream.push(pcm) + stream.flush()
    for decided in passes(setup, 1.0, [1, 3, 2], final):
        *spliced, whole = decided
        assert whole.whole
        assert whole.revisited
        assert not any(chunk.whole for chunk in spliced)
        assert (whole.exit, whole.n_valid, whole.n_audio) == (final, full.n_valid, full.n_audio)
        assert sum(chunk.n_valid for chunk in spliced) == whole.n_valid
        np.testing.assert_allclose(whole.log_probs, full.log_probs, atol=1e-5)


def test_transcripts(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_fake_bundle(tmp_path / "roomy", Sizes(full_max_frames=750)))
    # Speech-like noise with pauses: pieces end at the first pause after 20 s.
    pcm = noise(16_000 * 50)
    for second in range(4, 50, 5):
        pcm[16_000 * second : 16_000 * second + 12_000] = 0.0
    options: dict[str, Any] = {"exit": 2, "keep_log_probs": True, "decoder": "greedy"}
    results = []
    for parts in (1, 53):
        stream = recognizer.stream(second_pass=True, **options)
        for part in np.array_split(pcm, parts):
            stream.feed(part)
        results.append((stream.finish(), stream.log_probs))
    plain = recognizer.stream(**options)
    plain.feed(pcm)
    once = plain.finish()
    (first, log_probs), (second_cut, _) = results
    assert replace(first, seconds=0, rtf=0) == replace(second_cut, seconds=0, rtf=0)
    assert {chunk.final_exit for chunk in first.chunks} == {2}
    assert [replace(chunk, final_exit=None) for chunk in first.chunks] == list(once.chunks)
    assert {chunk.final_exit for chunk in once.chunks} == {None}
    assert log_probs.shape == plain.log_probs.shape
    assert np.abs(log_probs - plain.log_probs).max() > 1e-3
    assert " ".join(word.word for word in first.words) == first.text
    assert all(0.0 <= word.start <= word.end <= 50.0 and word.exit == 2 for word in first.words)


def test_a_piece_that_is_too_long_keeps_its_splice(recognizer: Recognizer) -> None:
    pcm = noise(16_000 * 40)  # without a pause
    twice = recognizer.transcribe(pcm, exit=2, second_pass=True)
    once = recognizer.transcribe(pcm, exit=2)
    assert {chunk.final_exit for chunk in twice.chunks} == {None}
    assert (twice.text, twice.words) == (once.text, once.words)


def test_a_budget_bounds_its_depth_and_counts_its_time(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_fake_bundle(tmp_path / "roomy", Sizes(full_max_frames=750)))
    pcm = noise(16_000 * 5)
    twice = recognizer.transcribe(pcm, exit=3, second_pass=True, budget=Budget(max_exit=2))
    assert {(chunk.exit, chunk.final_exit) for chunk in twice.chunks} == {(2, 2)}
    clock = FakeClock()
    monitor, engine = Monitor(3), FakeEngine(recognizer.engine, clock)
    stream = Stream(
        recognizer.bundle,
        engine,
        recognizer.tokens,
        FixedPolicy(1),
        chunk_frames=16,
        controller=BudgetController(
            Budget(max_exit=3),
            [FixedPolicy(1)],
            exits=3,
            frame_seconds=0.04,
            costs=SegmentCosts([1, 2, 3]),
            clock=clock,
        ),
        monitor=monitor,
        second_pass=FixedPolicy(3),
    )
    stream.feed(pcm)
    stream.finish()
    facts = monitor.snapshot()
    assert engine.calls[-2:] == ["segment2", "segment3"]
    assert facts["compute_seconds"] == pytest.approx(clock.now)
    assert facts["compute_seconds"] > 2 * facts["chunk_seconds"]["sum"]  # the trunk alone


def test_full_mode_has_none(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="second_pass: full mode sees the whole piece already"):
        recognizer.stream(chunk="full", second_pass=True)


def test_silence_and_short_audio(recognizer: Recognizer) -> None:
    for samples in (1, 700, 16_000):
        transcript = recognizer.transcribe(np.zeros(samples, dtype=np.float32), second_pass=True)
        assert {chunk.final_exit is not None for chunk in transcript.chunks} == {True}

"""The encoder against the parallel forward: every exit pattern is a gather, every slice is right."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_asr.audio.pcm import Mono
from edge_asr.errors import OptionError, StreamClosedError
from edge_asr.exits.criterion import get_criterion
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.encoder import EncoderStream
from tests.runtime.helpers import PatternPolicy, RecordingEngine, Setup, noise
from tests.runtime.reference import ReferenceChunk, parallel_forward

TOLERANCE = 1e-4


def encode(
    setup: Setup,
    policy: Policy,
    pcm: Mono,
    chunk_frames: int | None,
    cuts: list[int] | None = None,
    **options: bool,
) -> list[DecidedChunk]:
    stream = EncoderStream(setup.bundle, setup.engine, policy, chunk_frames=chunk_frames, **options)
    chunks = [chunk for piece in np.split(pcm, sorted(cuts or [])) for chunk in stream.push(piece)]
    return chunks + stream.flush()


def assert_gathered(chunks: list[DecidedChunk], reference: list[ReferenceChunk], exits: list[int]) -> None:
    assert [chunk.first_frame for chunk in chunks] == [chunk.first_frame for chunk in reference]
    for index, (chunk, expected) in enumerate(zip(chunks, reference, strict=True)):
        assert chunk.exit == exits[index % len(exits)]
        assert len(chunk.stats) == len(chunk.segment_seconds) == chunk.exit
        np.testing.assert_allclose(chunk.log_probs, expected.log_probs[chunk.exit - 1], atol=TOLERANCE)
        np.testing.assert_allclose(chunk.stats, expected.stats[: chunk.exit], atol=TOLERANCE)


def test_a_thousand_random_exit_patterns_are_gathers(setup: Setup) -> None:
    rng = np.random.default_rng(7)
    spec = setup.bundle.spec
    for chunk_frames in spec.chunks.allowed:
        pcm = noise(int(spec.frontend.hop * 20.3), seed=chunk_frames)
        reference = parallel_forward(spec, setup.engine, pcm, chunk_frames)
        for _ in range(500 // len(spec.chunks.allowed) + 1):
            exits = rng.integers(1, spec.encoder.exits + 1, len(reference)).tolist()
            chunks = encode(setup, PatternPolicy(exits), pcm, chunk_frames)
            assert [chunk.exit for chunk in chunks] == exits
            splice = np.concatenate([chunk.log_probs for chunk in chunks])
            gather = np.concatenate([chunk.log_probs[n - 1] for chunk, n in zip(reference, exits, strict=True)])
            assert np.abs(splice - gather).max() <= TOLERANCE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_length_cut_anyhow_is_a_gather(setup: Setup, data: st.DataObject) -> None:
    spec = setup.bundle.spec
    samples = data.draw(st.integers(1, 45 * spec.frontend.hop))
    chunk_frames = data.draw(st.sampled_from([*spec.chunks.allowed, None]))
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=8))
    exits = data.draw(st.lists(st.integers(1, spec.encoder.exits), min_size=1, max_size=12))
    pcm = noise(samples, seed=samples)
    reference = parallel_forward(spec, setup.engine, pcm, chunk_frames)
    chunks = encode(setup, PatternPolicy(exits), pcm, chunk_frames, cuts)
    assert_gathered(chunks, reference, exits)
    frames = math.ceil(samples / spec.frontend.hop)
    assert sum(chunk.n_valid for chunk in chunks) == frames + spec.encoder.tail_frames
    assert sum(chunk.n_audio for chunk in chunks) == frames


def test_all_exits_at_once_and_the_choice_of_the_policy(setup: Setup) -> None:
    spec = setup.bundle.spec
    pcm = noise(spec.frontend.hop * 50)
    for chunk_frames in (*spec.chunks.allowed, None):
        reference = parallel_forward(spec, setup.engine, pcm, chunk_frames)
        middle = float(np.median([chunk.stats[:-1, 0] for chunk in reference]))
        policy = ThresholdPolicy(get_criterion("frame_entropy"), (middle,) * (spec.encoder.exits - 1))
        everything = encode(setup, policy, pcm, chunk_frames, all_exits=True)
        chosen = encode(setup, policy, pcm, chunk_frames)
        for chunk, choice, expected in zip(everything, chosen, reference, strict=True):
            assert chunk.all_log_probs is not None
            np.testing.assert_allclose(chunk.all_log_probs, expected.log_probs, atol=TOLERANCE)
            np.testing.assert_allclose(chunk.stats, expected.stats, atol=TOLERANCE)
            assert chunk.exit == choice.exit
            np.testing.assert_array_equal(chunk.log_probs, choice.log_probs)
            assert choice.all_log_probs is None
            sure = [exit for exit, stats in enumerate(expected.stats[:-1], start=1) if stats[0] <= middle]
            assert chunk.exit == min([*sure, spec.encoder.exits])


def test_the_policy_is_asked_with_the_right_stats_and_not_at_the_last_exit(usual: Setup) -> None:
    spec = usual.bundle.spec
    policy = PatternPolicy([3, 1])
    pcm = noise(spec.frontend.hop * 30)
    encode(usual, policy, pcm, 16)
    reference = parallel_forward(spec, usual.engine, pcm, 16)
    assert [(exit, chunk.index) for exit, _, chunk in policy.asked] == [
        (1, 0),
        (2, 0),
        (1, 1),
        (1, 2),
        (2, 2),
    ]
    for exit, stats, chunk in policy.asked:
        np.testing.assert_allclose(stats, reference[chunk.index].stats[exit - 1], atol=TOLERANCE)
        assert (chunk.first_frame, chunk.chunk_frames, chunk.exits) == (16 * chunk.index, 16, 3)
    assert [chunk.n_valid for _, _, chunk in policy.asked] == [16, 16, 16, 1, 1]


def test_segments_beyond_the_exit_do_not_run(usual: Setup) -> None:
    engine = RecordingEngine(usual.engine)
    encode(Setup(usual.bundle, engine), PatternPolicy([1, 3, 2]), noise(640 * 45), 16)
    deep = [graph for graph, _ in engine.calls if graph not in ("frontend", "segment1")]
    assert deep == ["segment2", "segment3", "segment2"]


def test_a_chunk_is_decided_as_soon_as_its_look_ahead_is_there(setup: Setup) -> None:
    spec = setup.bundle.spec
    hop, overlap = spec.frontend.hop, spec.frontend.overlap
    look, step = spec.encoder.look_ahead, spec.encoder.step_frames
    for chunk in spec.chunks.allowed:
        stream = EncoderStream(setup.bundle, setup.engine, FixedPolicy(2), chunk_frames=chunk)
        pushed, decided = 0, 0
        for index in range(60):
            pcm = noise(hop, seed=index)
            pushed += hop
            decided += len(stream.push(pcm))
            computed = max(0, (pushed - overlap) // hop) // step * step
            assert decided == max(0, (computed - look) // chunk)
            assert len(stream.provisional()) == computed - decided * chunk


def test_the_trunk_runs_in_steps_and_shapes_follow_the_contract(usual: Setup) -> None:
    engine = RecordingEngine(usual.engine)
    encode(Setup(usual.bundle, engine), FixedPolicy(2), noise(640 * 32), 16)  # 32 + 3 frames
    steps = [shapes["frames"][1] for graph, shapes in engine.calls if graph == "segment1"]
    assert steps == [4] * 9
    pcm = [shapes["pcm"][1] for graph, shapes in engine.calls if graph == "frontend"]
    assert pcm == [720 + 4 * 640] * 9
    deep = [(shapes["frames"][1], shapes["window"][1]) for graph, shapes in engine.calls if graph == "segment2"]
    assert deep == [(16, 6 + 16 + 4), (16, 6 + 16 + 4), (4, 6 + 4 + 4)]


def test_full_mode_is_one_call_of_each_graph(usual: Setup) -> None:
    engine = RecordingEngine(usual.engine)
    (chunk,) = encode(Setup(usual.bundle, engine), FixedPolicy(3), noise(640 * 20), None)
    assert [graph for graph, _ in engine.calls] == ["frontend", "segment1", "segment2", "segment3"]
    assert engine.calls[2][1]["window"] == (1, 6 + 24 + 0, 24)
    assert (chunk.n_valid, chunk.n_audio) == (23, 20)


def test_the_last_sample_counts(setup: Setup) -> None:
    spec = setup.bundle.spec
    hop = spec.frontend.hop
    for extra in (0, 1, hop // 2):
        pcm = noise(hop * 24 + extra)
        louder = pcm.copy()
        louder[-1] = 0.9
        for chunk_frames in (*spec.chunks.allowed, None):
            runs = [encode(setup, FixedPolicy(1), audio, chunk_frames) for audio in (pcm, louder)]
            splices = [np.concatenate([chunk.log_probs for chunk in chunks]) for chunks in runs]
            assert len(splices[0]) == math.ceil(len(pcm) / hop) + spec.encoder.tail_frames
            changed = np.abs(splices[0] - splices[1]).max(axis=1) > 0
            assert changed[(len(pcm) - 1) // hop]


def test_provisional_is_what_exit_1_says_of_the_frames_to_come(usual: Setup) -> None:
    spec = usual.bundle.spec
    pcm = noise(640 * 40)
    reference = np.concatenate([chunk.log_probs[0] for chunk in parallel_forward(spec, usual.engine, pcm, 8)])
    stream = EncoderStream(usual.bundle, usual.engine, FixedPolicy(3), chunk_frames=16)
    decided = 0
    for piece in np.split(pcm, 20):
        decided += sum(chunk.n_valid for chunk in stream.push(piece))
        provisional = stream.provisional()
        np.testing.assert_allclose(provisional, reference[decided : decided + len(provisional)], atol=TOLERANCE)
    stream.flush()
    assert len(stream.provisional()) == 0


def test_no_audio_gives_no_chunk(setup: Setup) -> None:
    assert encode(setup, FixedPolicy(1), noise(0), setup.bundle.spec.chunks.default) == []


def test_a_flushed_stream_is_closed(usual: Setup) -> None:
    stream = EncoderStream(usual.bundle, usual.engine, FixedPolicy(1), chunk_frames=8)
    stream.flush()
    with pytest.raises(StreamClosedError):
        stream.push(noise(10))
    with pytest.raises(StreamClosedError):
        stream.flush()


@pytest.mark.parametrize("chunk_frames", [0, 7, 12, 640])
def test_a_chunk_size_that_is_not_allowed(usual: Setup, chunk_frames: int) -> None:
    with pytest.raises(OptionError, match="bundle 'fake' allows 8, 16, 32, or None for full"):
        EncoderStream(usual.bundle, usual.engine, FixedPolicy(1), chunk_frames=chunk_frames)


def test_frames_are_counted_without_gap(setup: Setup) -> None:
    chunks = encode(setup, FixedPolicy(1), noise(setup.bundle.spec.frontend.hop * 40), setup.bundle.spec.chunks.default)
    for one, two in pairwise(chunks):
        assert two.first_frame == one.first_frame + one.n_valid
        assert one.n_valid == setup.bundle.spec.chunks.default

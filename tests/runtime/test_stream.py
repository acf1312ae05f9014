"""Streams: however audio comes in, the result is that of one call; and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_asr.decoding.decoding import GreedyDecoding, Partial
from edge_asr.errors import AudioError, NumericError, OptionError, StreamClosedError
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.stats import ExitStats
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.recognizer import Recognizer
from edge_asr.runtime.transcript import Transcript
from tests.fake_bundle import PIECES, write_fake_bundle
from tests.runtime.helpers import PatternPolicy, noise


def result(transcript: Transcript) -> tuple[Any, ...]:
    """Everything but the time it took."""
    return transcript.text, transcript.duration, transcript.mean_exit, transcript.chunks, transcript.tokens


def audio(samples: int, channels: int | None, kind: str) -> npt.NDArray[Any]:
    pcm: npt.NDArray[Any] = noise(samples * (channels or 1), seed=samples)
    if channels is not None:
        pcm = pcm.reshape(samples, channels)
    return (pcm * 32767).astype(np.int16) if kind == "int16" else pcm.astype(kind)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_pieces_give_the_identical_result(recognizer: Recognizer, data: st.DataObject) -> None:
    rate = data.draw(st.sampled_from([16_000, 8_000, 44_100, 11_025]))
    samples = data.draw(st.integers(1, 3 * rate))
    pcm = audio(
        samples,
        data.draw(st.sampled_from([None, 1, 2, 5])),
        data.draw(st.sampled_from(["int16", "float32", "float64"])),
    )
    options: dict[str, Any] = {
        "sample_rate": rate,
        "chunk": data.draw(st.sampled_from([320, 640, 1280, "full"])),
        "exit": data.draw(st.sampled_from(["auto", 1, 2, 3])),
    }
    stream = recognizer.stream(**options)
    for piece in np.split(pcm, sorted(data.draw(st.lists(st.integers(0, samples), max_size=12)))):
        stream.feed(piece)
        assert isinstance(stream.partial, str)
    assert result(stream.finish()) == result(recognizer.transcribe(pcm, **options))


def test_long_audio_with_cuts_gives_the_identical_result(recognizer: Recognizer) -> None:
    pcm = np.concatenate([noise(16_000 * 21), noise(16_000, level=1e-5), noise(16_000 * 5, seed=1)])
    rng = np.random.default_rng(5)
    for chunk in (640, "full"):
        expected = result(recognizer.transcribe(pcm, chunk=chunk))
        for _ in range(3):
            stream = recognizer.stream(chunk=chunk)
            for piece in np.split(pcm, np.sort(rng.integers(0, len(pcm), 40))):
                stream.feed(piece)
            assert result(stream.finish()) == expected


def test_partial_is_decided_text_and_then_what_exit_1_says(recognizer: Recognizer) -> None:
    pcm = noise(16_000 * 4)
    stream = recognizer.stream(exit=3, keep_log_probs=True)
    first = recognizer.stream(exit=1, keep_log_probs=True)
    first.feed(pcm)
    first.finish()
    grew = False
    for piece in np.split(pcm, 50):
        stream.feed(piece)
        decided = len(stream.log_probs)
        known = stream._encoder.provisional()
        splice = np.concatenate([stream.log_probs, first.log_probs[decided : decided + len(known)]])
        best = splice.argmax(axis=1)
        ids = [i for i, before in zip(best, [0, *best], strict=False) if i not in (0, before)]
        assert stream.partial == recognizer.tokens.text(ids).lower()
        grew = grew or (len(known) > 0 and stream.partial != "")
    assert grew
    transcript = stream.finish()
    assert stream.partial == transcript.text


def test_nothing_new_is_not_decoded_again(recognizer: Recognizer) -> None:
    class Counting(GreedyDecoding):
        asked = 0

        def partial(self, provisional: Any) -> Partial:
            self.asked += 1
            return super().partial(provisional)

    decoding = Counting(recognizer.tokens.pieces)
    stream = recognizer.stream(exit=2)
    stream._decoding = decoding
    texts = set()
    for piece in np.split(noise(16_000 * 4), 200):  # 20 ms
        stream.feed(piece)
        texts.add(stream.partial)
        assert stream.partial.startswith(stream.stable)
        assert isinstance(stream.endpoint, bool)
    step = recognizer.bundle.spec.encoder.step_frames * recognizer.bundle.spec.frame_seconds
    assert len(texts) <= decoding.asked <= 4 / step + 4 / 0.64 + 2  # a step of the trunk, a decision
    stream.finish()


def test_the_splice_is_kept_only_if_asked_for(recognizer: Recognizer) -> None:
    pcm = noise(16_000)
    stream = recognizer.stream(exit=2, keep_log_probs=True)
    assert stream.log_probs.shape == (0, len(PIECES))
    stream.feed(pcm)
    stream.finish()
    assert stream.log_probs.shape == (25 + 3, len(PIECES))
    with pytest.raises(OptionError, match="keep_log_probs=False"):
        _ = recognizer.stream().log_probs


def test_a_policy_of_ones_own(recognizer: Recognizer) -> None:
    stream = recognizer.stream(policy=PatternPolicy([3, 1, 2]))
    stream.feed(noise(16_000 * 2))
    transcript = stream.finish()
    assert [chunk.exit for chunk in transcript.chunks] == [3, 1, 2, 3]
    assert [len(chunk.criteria) for chunk in transcript.chunks] == [3, 1, 2, 3]
    frames = [16, 16, 16, 5]
    assert [chunk.frames for chunk in transcript.chunks] == frames
    assert transcript.mean_exit == pytest.approx((3 * 16 + 16 + 2 * 16 + 3 * 5) / 53)
    for chunk in transcript.chunks:
        assert chunk.entropy == chunk.criteria[chunk.exit - 1].entropy
        assert chunk.max_posterior == chunk.criteria[chunk.exit - 1].max_posterior


def test_chunk_times_cover_the_audio(recognizer: Recognizer) -> None:
    stream = recognizer.stream(exit=1)
    stream.feed(noise(16_000 * 2 - 100))
    chunks = stream.finish().chunks
    assert [(chunk.start, round(chunk.end, 5)) for chunk in chunks] == [
        (0.0, 0.64),
        (0.64, 1.28),
        (1.28, 1.92),
        (1.92, round(2 - 100 / 16_000, 5)),
    ]


def test_a_chunk_that_is_all_tail_takes_no_time(recognizer: Recognizer) -> None:
    stream = recognizer.stream(exit=1)
    stream.feed(noise(640 * 16))  # one chunk of audio, 3 frames of tail
    chunks = stream.finish().chunks
    assert [(chunk.start, chunk.end, chunk.frames) for chunk in chunks] == [(0.0, 0.64, 16), (0.64, 0.64, 3)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_sample_takes_nothing_of_its_array(recognizer: Recognizer, bad: float) -> None:
    pcm = noise(16_000 * 3)
    broken = pcm.copy()
    broken[-1] = bad
    stream = recognizer.stream()
    stream.feed(pcm)
    with pytest.raises(AudioError, match="NaN or infinity"):
        stream.feed(broken)
    stream.feed(pcm)
    assert result(stream.finish()) == result(recognizer.transcribe(np.concatenate([pcm, pcm])))


def test_nothing_fed_is_empty_audio(recognizer: Recognizer) -> None:
    stream = recognizer.stream()
    stream.feed(np.zeros(0, dtype=np.int16))
    assert stream.partial == ""
    with pytest.raises(AudioError, match="empty"):
        stream.finish()
    stream.feed(noise(100))  # it is still open
    assert stream.finish().duration == 100 / 16_000


@pytest.mark.parametrize("rate", [16_000, 48_000, 768_000])
def test_one_sample_is_enough(recognizer: Recognizer, rate: int) -> None:
    for chunk in (640, "full"):
        transcript = recognizer.transcribe(np.zeros(1, dtype=np.float32), sample_rate=rate, chunk=chunk, exit=2)
        assert transcript.duration == 1 / rate
        assert all(0 <= c.start <= c.end <= transcript.duration for c in transcript.chunks)


def test_what_the_resampler_holds_is_flushed(recognizer: Recognizer) -> None:
    transcript = recognizer.transcribe(noise(16_001), sample_rate=8_000)  # 32,002 samples: one frame more
    assert sum(chunk.frames for chunk in transcript.chunks) == 51 + 3


def test_a_cut_between_pieces_is_a_cut_between_words(recognizer: Recognizer) -> None:
    def chunk(piece: int, ids: list[int]) -> DecidedChunk:
        log_probs = np.log(np.eye(len(PIECES), dtype=np.float32)[ids] + 1e-6)
        return DecidedChunk(piece, 8 * piece, len(ids), len(ids), 1, log_probs, (ExitStats(0, 1, 1, 0),), None, (0.0,))

    stream = recognizer.stream()
    stream._take([chunk(0, [1, 2]), chunk(0, [2, 5]), chunk(1, [5, 2]), chunk(2, [1, 2])])
    assert stream.partial == "abe eb ab"


def test_a_finished_stream_is_closed(recognizer: Recognizer) -> None:
    stream = recognizer.stream()
    stream.feed(noise(16_000))
    stream.finish()
    with pytest.raises(StreamClosedError, match="finished"):
        stream.feed(noise(10))
    with pytest.raises(StreamClosedError):
        stream.finish()


@pytest.mark.parametrize("graph", ["segment1", "segment2", "segment3"])
def test_nan_from_a_graph_names_it(tmp_path: Path, graph: str) -> None:
    recognizer = Recognizer.load(write_fake_bundle(tmp_path / "nan", nan_in=graph))
    with pytest.raises(NumericError, match=f"graph {graph}: output log_probs holds NaN"):
        recognizer.transcribe(noise(16_000), exit=3)
    if graph == "segment3":
        stream = recognizer.stream(policy=FixedPolicy(2))  # what doesn't run does no harm
        stream.feed(noise(16_000))
        assert stream.finish().mean_exit == 2.0


def test_streams_of_one_recognizer_do_not_touch_each_other(recognizer: Recognizer) -> None:
    one, two = noise(16_000 * 2, seed=1), noise(16_000 * 2, seed=2)
    streams = [recognizer.stream(), recognizer.stream()]
    for left, right in zip(np.split(one, 10), np.split(two, 10), strict=True):
        streams[0].feed(left)
        streams[1].feed(right)
    for stream, pcm in zip(streams, (one, two), strict=True):
        assert result(stream.finish()) == result(recognizer.transcribe(pcm))

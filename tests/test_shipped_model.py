"""The model in the package, on real recordings: what a user gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr import Recognizer
from edge_asr.decoding.decoder import Decoder
from edge_asr.decoding.ngram import NgramModel
from edge_asr.evaluation.dataset import load_dataset, sample
from edge_asr.evaluation.evaluate import evaluate
from edge_asr.evaluation.wer import ErrorCount, word_errors

DATA = os.environ.get("EDGE_ASR_TEST_DATA")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


@pytest.fixture(scope="module")
def speech(samples: Path) -> npt.NDArray[np.float32]:
    pcm, rate = sf.read(samples / "librispeech-1272-128104-0000.flac", dtype="float32")
    assert rate == 16_000
    return np.asarray(pcm, dtype=np.float32)


def test_it_recognises_the_samples(recognizer: Recognizer, samples: Path) -> None:
    rows = [json.loads(line) for line in (samples / "manifest.jsonl").read_text().splitlines()]
    total = ErrorCount()
    for row in rows:
        if row["id"].startswith("librispeech"):
            total += word_errors(row["text"], recognizer.transcribe(samples / row["audio"], exit=6).text)
    assert total.reference > 50
    assert total.rate < 0.45


def test_its_language_model_reads_phones(recognizer: Recognizer, samples: Path) -> None:
    """And makes fewer errors with them than with word pieces."""
    assert recognizer.phones is not None
    phones = recognizer.decoder("lm")
    assert phones.phones
    assert recognizer.bundle.lm_file is not None
    pieces = Decoder("lm", recognizer.tokens.pieces, lm=NgramModel.load(recognizer.bundle.lm_file))
    assert not pieces.phones
    totals = [ErrorCount(), ErrorCount()]
    for line in (samples / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        for i, decoder in enumerate((phones, pieces)):
            transcript = recognizer.transcribe(samples / row["audio"], exit=6, decoder=decoder)
            totals[i] += word_errors(row["text"], transcript.text)
    assert totals[0].rate <= totals[1].rate
    heard = recognizer.transcribe(samples / row["audio"], exit=6, hotwords=["people"])
    assert {token.piece for token in heard.tokens} <= set(recognizer.phones.pieces)


@pytest.mark.parametrize("chunk", [320, 640, 1280, "full"])
def test_auto_is_cheaper_than_full_depth(recognizer: Recognizer, samples: Path, chunk: int | str) -> None:
    transcripts = [recognizer.transcribe(file, chunk=chunk) for file in sorted(samples.glob("*.flac"))]
    chunks = [c for transcript in transcripts for c in transcript.chunks]
    assert all(transcript.text for transcript in transcripts)
    assert all(1 <= c.exit <= 6 and c.entropy >= 0 and 0 < c.max_posterior <= 1 for c in chunks)
    macs = [exit.macs_per_second[str(chunk)] for exit in recognizer.bundle.spec.exits]
    mean = sum(c.frames * macs[c.exit - 1] for c in chunks) / sum(c.frames for c in chunks)
    assert mean < macs[-1]


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=40), st.sampled_from([320, 640, 1280]))
def test_random_pieces_give_the_text_of_one_call(
    recognizer: Recognizer, speech: npt.NDArray[np.float32], sizes: list[int], chunk: int
) -> None:
    whole = recognizer.transcribe(speech, chunk=chunk)
    stream, start, number = recognizer.stream(chunk=chunk), 0, 0
    while start < len(speech):
        size = sizes[number % len(sizes)] if number < 300 else 9000
        stream.feed(speech[start : start + size])
        start, number = start + size, number + 1
    streamed = stream.finish()
    assert streamed.text == whole.text
    assert [c.exit for c in streamed.chunks] == [c.exit for c in whole.chunks]


@pytest.mark.parametrize("chunk", [320, 640, "full"])
def test_the_last_word_is_kept_without_silence_after_it(
    recognizer: Recognizer, speech: npt.NDArray[np.float32], chunk: int | str
) -> None:
    loud = np.flatnonzero(np.abs(speech) > 0.05 * np.abs(speech).max())
    cut = speech[: loud[-1] + 160]
    assert np.abs(cut[-800:]).max() > 0.05 * np.abs(speech).max()  # it ends in speech
    silent = np.concatenate([cut, np.zeros(16_000, dtype=np.float32)])
    with_silence = recognizer.transcribe(silent, chunk=chunk, exit=6).text.split()
    without = recognizer.transcribe(cut, chunk=chunk, exit=6).text.split()
    assert without[-1] == with_silence[-1]
    assert abs(len(without) - len(with_silence)) <= 1


def test_other_rates_and_channels_give_nearly_the_same(recognizer: Recognizer, speech: npt.NDArray[np.float32]) -> None:
    import soxr

    plain = recognizer.transcribe(speech, exit=6).text
    stereo = np.stack([soxr.resample(speech, 16_000, 44_100)] * 2, axis=1)
    other = recognizer.transcribe(stereo, sample_rate=44_100, exit=6).text
    assert word_errors(plain, other).rate <= 0.25


def test_silence_and_noise_do_not_fail(recognizer: Recognizer) -> None:
    rng = np.random.default_rng(0)
    for pcm in (np.zeros(48_000), rng.standard_normal(48_000) * 0.1, np.zeros(1), np.ones(700) * 0.5):
        transcript = recognizer.transcribe(pcm.astype(np.float32))
        assert len(transcript.text.split()) <= 8


@pytest.mark.skipif(DATA is None, reason="EDGE_ASR_TEST_DATA names no manifest or LibriSpeech-layout folder")
def test_wer_falls_with_depth_on_a_dev_set(recognizer: Recognizer) -> None:
    assert DATA is not None
    result = evaluate(recognizer, sample(load_dataset(DATA), 60)).as_json()
    wers = [entry["wer"] for entry in result["exits"]]
    assert wers[5] < wers[2] < wers[0]
    assert wers[5] < 0.45
    assert result["auto"]["mean_macs_per_second"] < result["exits"][-1]["macs_per_second"]

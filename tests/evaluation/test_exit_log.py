"""Recorded passes on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asr.errors import AudioNotFoundError, DataError
from edge_asr.evaluation import exit_log
from edge_asr.evaluation.dataset import Utterance, audio_identity, identity, load_dataset
from edge_asr.evaluation.exit_log import load_log, record_all
from edge_asr.evaluation.noise import NoiseCorruption
from edge_asr.evaluation.recording import Recording
from edge_asr.runtime.recognizer import Recognizer
from tests.fake_bundle import Sizes, write_fake_bundle


@pytest.fixture(scope="module")
def utterances(samples: Path) -> list[Utterance]:
    return load_dataset(samples / "manifest.jsonl")[:2]


@pytest.mark.parametrize("phones", [False, True])
@pytest.mark.parametrize("chunk", ["640", "full"])
def test_what_is_read_is_what_was_recorded(
    fake_model: Path, utterances: list[Utterance], tmp_path: Path, chunk: str, phones: bool
) -> None:
    model = write_fake_bundle(tmp_path / "model", Sizes(phones=True, full_max_frames=750)) if phones else fake_model
    recognizer, tmp_path = Recognizer.load(model), tmp_path / "cache"
    ticks: list[None] = []
    first = record_all(recognizer, utterances, chunk, cache=tmp_path, tick=lambda: ticks.append(None))
    second = record_all(recognizer, utterances, chunk, cache=tmp_path, tick=lambda: ticks.append(None))
    assert len(ticks) == 2  # nothing ran the second time
    for one, other in zip(first, second, strict=True):
        assert (one.utterance, one.seconds) == (other.utterance, other.seconds)
        assert len(one.chunks) == len(other.chunks)
        for a, b in zip(one.chunks, other.chunks, strict=True):
            assert (a.info, a.piece, a.seconds, a.blank) == (b.info, b.piece, b.seconds, b.blank)
            assert np.array_equal(a.log_probs, b.log_probs)
            assert np.array_equal(a.frames, b.frames)
            assert (a.phones is not None) == (b.phones is not None) == phones
            assert not phones or np.array_equal(np.asarray(a.phones), np.asarray(b.phones))
    noisy = NoiseCorruption([np.ones(100, dtype=np.float32)], 0.0)
    other = record_all(recognizer, utterances, chunk, cache=tmp_path, condition="0 dB", corrupt=noisy)
    assert not np.array_equal(other[0].chunks[0].log_probs, first[0].chunks[0].log_probs)
    assert len(list(tmp_path.iterdir())) == 2


class Passes:
    """Counts the utterances that are recorded, not read from a folder."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.ticks = cache, 0

    def __call__(self, model: Path, utterances: list[Utterance], **options: Any) -> list[Recording]:
        return record_all(Recognizer.load(model), utterances, 640, cache=self.cache, tick=self._tick, **options)

    def _tick(self) -> None:
        self.ticks += 1


def test_other_audio_under_the_same_ids_is_another_pass(
    fake_model: Path, utterances: list[Utterance], tmp_path: Path
) -> None:
    passes, one = Passes(tmp_path / "cache"), utterances[0]
    pcm, rate = soundfile.read(one.audio, dtype="int16")
    copies = [replace(one, audio=tmp_path / name) for name in ("clean.wav", "noisy.wav", "clean-again.wav")]
    for copy, samples in zip(copies, (pcm, pcm // 2, pcm), strict=True):
        soundfile.write(copy.audio, samples, rate)
    clean, noisy, again = (passes(fake_model, [copy])[0] for copy in copies)
    assert passes.ticks == 2  # the third is the first, by another path
    assert identity(copies[:1]) == identity(copies[1:2])
    assert not np.array_equal(clean.chunks[0].log_probs, noisy.chunks[0].log_probs)
    assert np.array_equal(clean.chunks[0].log_probs, again.chunks[0].log_probs)
    with pytest.raises(AudioNotFoundError, match=r"gone\.wav"):
        audio_identity([replace(one, audio=tmp_path / "gone.wav")])


def test_another_noise_under_the_same_label_is_another_pass(
    fake_model: Path, utterances: list[Utterance], tmp_path: Path
) -> None:
    passes = Passes(tmp_path)
    hum, hiss = np.ones(100, dtype=np.float32), np.tile(np.float32([1, -1]), 50)
    for number, (clip, seed) in enumerate([(hum, 0), (hiss, 0), (hum, 1)], start=1):
        for _ in range(2):
            passes(fake_model, utterances[:1], condition="0 dB", corrupt=NoiseCorruption([clip], 0.0, seed))
            assert passes.ticks == number


def test_another_overlap_is_another_pass(utterances: list[Utterance], tmp_path: Path) -> None:
    passes = Passes(tmp_path / "cache")
    models = [write_fake_bundle(tmp_path / str(n), Sizes(encoder_overlap=n)) for n in (0, 2)]
    for model in models:
        passes(model, utterances[:1])
    assert passes.ticks == 2
    assert len({path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir()}) == 1  # the same graphs


def test_seconds_are_of_this_machine(
    fake_model: Path, utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(tmp_path)
    passes(fake_model, utterances[:1])
    passes(fake_model, utterances[:1], timed=False)
    assert passes.ticks == 2
    monkeypatch.setattr(exit_log.platform, "node", lambda: "another machine")
    passes(fake_model, utterances[:1], timed=False)
    assert passes.ticks == 2
    passes(fake_model, utterances[:1])
    assert passes.ticks == 3
    passes(fake_model, utterances[:1], threads=2)
    assert passes.ticks == 4


def test_the_same_data_in_another_order_is_the_same_pass(
    fake_model: Path, utterances: list[Utterance], tmp_path: Path
) -> None:
    passes = Passes(tmp_path)
    first = passes(fake_model, utterances)
    other = passes(fake_model, utterances[::-1])
    assert passes.ticks == 2
    assert [recording.utterance for recording in other] == utterances[::-1]
    for one, again in zip(first, other[::-1], strict=True):
        assert (one.utterance, one.seconds, len(one.chunks)) == (again.utterance, again.seconds, len(again.chunks))
        for a, b in zip(one.chunks, again.chunks, strict=True):
            assert (a.info, a.seconds) == (b.info, b.seconds)
            assert np.array_equal(a.log_probs, b.log_probs)


def test_other_data_and_damage(fake_model: Path, utterances: list[Utterance], tmp_path: Path) -> None:
    recognizer = Recognizer.load(fake_model)
    record_all(recognizer, utterances, 640, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    with pytest.raises(DataError, match="chunk is '640', expected '320'"):
        load_log(path, utterances, {"chunk": "320"})
    with pytest.raises(DataError, match="other utterances"):
        load_log(path, utterances[:1], {})
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"", b"not a log"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not a log of exits"):
            load_log(path, utterances, {})
    with np.load(tmp_path / _write(tmp_path, content), allow_pickle=False) as file:
        arrays = dict(file)
    arrays["log_probs"][0, 0, :] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="hold NaN"):
        load_log(path, utterances, {})


def _write(folder: Path, content: bytes) -> str:
    (folder / "whole.npz").write_bytes(content)
    return "whole.npz"


def test_the_identity_is_of_ids_and_texts(utterances: list[Utterance]) -> None:
    assert identity(utterances) == identity(utterances[::-1])
    assert identity(utterances) != identity([replace(utterances[0], text="X"), utterances[1]])
    assert identity(utterances) != identity(utterances[:1])

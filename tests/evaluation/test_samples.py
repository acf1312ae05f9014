"""The recordings in `samples/` are what their manifest and README say."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from edge_asr.decoding.text import normalise
from edge_asr.evaluation.dataset import load_dataset


def test_recordings(samples: Path) -> None:
    utterances = load_dataset(samples / "manifest.jsonl")
    assert {u.audio for u in utterances} == set(samples.glob("*.flac"))
    assert len({u.speaker for u in utterances}) == len(utterances) == 5
    for utterance in utterances:
        info = soundfile.info(utterance.audio)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16_000, 1)
        assert info.duration == pytest.approx(utterance.duration, abs=0.001)
        assert 5.0 <= info.duration <= 20.0
        assert utterance.text == normalise(utterance.text) != ""


def test_size(samples: Path) -> None:
    assert sum(file.stat().st_size for file in samples.iterdir()) < 2_000_000


def test_every_recording_is_credited(samples: Path) -> None:
    text = (samples / "README.md").read_text(encoding="utf-8")
    for file in samples.glob("*.flac"):
        assert f"`{file.name}`" in text
    assert "CC BY 4.0" in text
    assert "CC0 1.0" in text

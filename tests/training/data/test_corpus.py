"""Corpora in both layouts, and what is said of malformed ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_asr.errors import DataError
from edge_asr.training.data.corpus import read_corpus
from tests.training.corpora import WORDS, write_librispeech


def test_librispeech_layout(tmp_path: Path) -> None:
    write_librispeech(tmp_path / "dev-clean", 6, 0)
    cuts = list(read_corpus(tmp_path / "dev-clean"))
    assert len(cuts) == 6
    assert {s.speaker for cut in cuts for s in cut.supervisions} == {"11", "12"}
    for cut in cuts:
        assert set(cut.supervisions[0].text.split()) <= set(WORDS)
        assert cut.duration == pytest.approx(cut.recording.num_samples / 16_000)


def test_samples_as_manifest(samples: Path) -> None:
    rows = [json.loads(line) for line in (samples / "manifest.jsonl").read_text().splitlines()]
    cuts = list(read_corpus(samples / "manifest.jsonl"))
    assert [cut.id for cut in cuts] == [row["id"] for row in rows]
    assert [cut.supervisions[0].text for cut in cuts] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no utterances"),
        ("{", "line 1: not JSON"),
        ('{"id": "a", "audio": "a.wav"}', "line 1: field 'text'"),
        ("[1]", "line 1: field 'id'"),
        ('{"id": "a", "audio": "a.wav", "text": "A"}', "a.wav"),
    ],
)
def test_malformed_manifests(tmp_path: Path, lines: str, message: str) -> None:
    manifest = tmp_path / "bad.jsonl"
    manifest.write_text(lines)
    with pytest.raises(DataError, match=message):
        read_corpus(manifest)


def test_the_same_id_twice(samples: Path, tmp_path: Path) -> None:
    line = (samples / "manifest.jsonl").read_text().splitlines()[0]
    (tmp_path / "m.jsonl").write_text(f"{line}\n{line}\n")
    with pytest.raises(DataError, match="twice"):
        read_corpus(tmp_path / "m.jsonl", samples)


def test_transcript_without_audio(tmp_path: Path) -> None:
    write_librispeech(tmp_path, 3, 0)
    next(tmp_path.rglob("*.flac")).unlink()
    with pytest.raises(DataError, match=r"line \d+: no \S+ with suffix"):
        read_corpus(tmp_path)


def test_neither_folder_nor_manifest(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(DataError, match="LibriSpeech"):
            read_corpus(source)

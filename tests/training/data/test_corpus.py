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


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ('"text": " "', "line 2: field 'text' is empty"),
        ('"text": "A", "check": null', "line 2: field 'check' is None; allowed: a number"),
        ('"text": "A", "duration": "3 s"', "line 2: field 'duration' is '3 s'"),
        ('"text": "A", "duration": NaN', "line 2: field 'duration' is nan"),
        ('"text": "A", "check": true', "line 2: field 'check' is True"),
    ],
)
def test_what_a_line_says_is_checked(samples: Path, tmp_path: Path, field: str, message: str) -> None:
    audio = json.dumps(str(samples / "librispeech-1272-128104-0000.flac"))
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(f'{{"id": "a", "audio": {audio}, "text": "A"}}\n{{"id": "b", "audio": {audio}, {field}}}\n')
    with pytest.raises(DataError, match=message):
        read_corpus(manifest)


def test_an_empty_transcript_in_librispeech_s_layout(tmp_path: Path) -> None:
    write_librispeech(tmp_path / "dev-clean", 2, 0)
    path = next((tmp_path / "dev-clean").rglob("*.trans.txt"))
    path.write_text(path.read_text().split()[0] + "\n")
    with pytest.raises(DataError, match=r"trans\.txt, line 1: 11-7-0000 has no transcript"):
        read_corpus(tmp_path / "dev-clean")


def test_cuts_hold_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_librispeech(tmp_path / "dev-clean", 2, 0)
    monkeypatch.chdir(tmp_path)
    cuts = list(read_corpus(Path("dev-clean")))
    monkeypatch.chdir("/")
    assert all(Path(cut.recording.sources[0].source).is_file() for cut in cuts)

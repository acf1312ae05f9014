"""Unpacking checks what it unpacks, and does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_asr.errors import DataError
from edge_asr.training.data.unpack import find_pairs, unpack
from tests.training.corpora import write_pair


def test_unpacks_once(tmp_path: Path) -> None:
    write_pair(tmp_path / "in" / "train", "tones", 5, 0)
    [(split, tar, manifest)] = find_pairs(tmp_path / "in")
    said: list[str] = []
    first = unpack(split, tar, manifest, tmp_path / "out", said.append)
    assert (first.utterances, first.speakers, first.split) == (5, 3, "train")
    assert said
    said.clear()
    assert unpack(split, tar, manifest, tmp_path / "out", said.append) == first
    assert said == []


def test_a_changed_archive_is_unpacked_again(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    first = unpack("train", tar, manifest, tmp_path / "out")
    write_pair(tmp_path / "in", "tones", 7, 1)
    second = unpack("train", tar, manifest, tmp_path / "out")
    assert second.utterances == 7
    assert second.tar_sha256 != first.tar_sha256


def test_a_damaged_archive(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    tar.write_bytes(tar.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"tones|cannot be"):
        unpack("train", tar, manifest, tmp_path / "out")


def test_wrong_durations(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    rows = [json.loads(line) | {"duration": 99.0} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="durations"):
        unpack("train", tar, manifest, tmp_path / "out")


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=str(folder)):
            find_pairs(folder)

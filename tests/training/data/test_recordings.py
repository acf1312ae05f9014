"""Somebody's own recordings: read, cleaned, split and prepared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.normaliser import comparable
from edge_asr.training.data.batches import open_store, read_part
from edge_asr.training.data.recordings import split_recordings
from tests.training.corpora import write_librispeech, write_pair


def write_own(folder: Path, count: int = 10) -> None:
    """Recordings in two folders, a text beside each, as people write."""
    for i in range(count):
        path = folder / f"day{i % 2}" / f"note {i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, 0.1 * np.random.default_rng(i).standard_normal(16_000 + 1000 * i), 16_000)
        path.with_suffix(".txt").write_text(f"Note {i},\n it's café time.\n", encoding="utf-8")


def test_a_folder_with_texts_beside(tmp_path: Path) -> None:
    write_own(tmp_path / "own")
    train, dev = split_recordings(tmp_path / "own", tmp_path / "out", comparable, held_back=0.2)
    assert (train.split, train.utterances, dev.split, dev.utterances) == ("train", 8, "dev", 2)
    parts = [read_part(tmp_path / "out", split, ("own",))["own"] for split in ("train", "dev")]
    assert not {c.id for c in parts[0]} & {c.id for c in parts[1]}
    assert {c.id for c in parts[0] + parts[1]} == {f"day{i % 2}/note {i}" for i in range(10)}
    cut = next(c for c in parts[0] + parts[1] if c.id == "day1/note 3")
    assert cut.supervisions[0].text == "NOTE THREE IT'S CAFE TIME"
    again = split_recordings(tmp_path / "own", tmp_path / "again", comparable, held_back=0.2)
    assert again == [train, dev]
    assert [c.id for c in read_part(tmp_path / "again", "dev", ("own",))["own"]] == [c.id for c in parts[1]]


def test_other_layouts(tmp_path: Path) -> None:
    write_librispeech(tmp_path / "libri", 6, 1)
    assert [p.utterances for p in split_recordings(tmp_path / "libri", tmp_path / "a", comparable)] == [5, 1]
    _, manifest = write_pair(tmp_path / "pair", "tones", 6, 1)
    for row in map(json.loads, manifest.read_text().splitlines()):
        (manifest.parent / row["audio"]).parent.mkdir(exist_ok=True)
        sf.write(manifest.parent / row["audio"], np.zeros(8000), 16_000)
    assert [p.utterances for p in split_recordings(manifest, tmp_path / "b", comparable, held_back=0.5)] == [3, 3]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(DataError, match="holds no audio"):
        split_recordings(own, tmp_path / "out", comparable)
    write_own(own, 1)
    with pytest.raises(DataError, match="at least two are needed"):
        split_recordings(own, tmp_path / "out", comparable)
    write_own(own, 3)
    for share in (0.0, 1.0):
        with pytest.raises(OptionError, match="held-back share"):
            split_recordings(own, tmp_path / "out", comparable, held_back=share)
    text = own / "day0" / "note 2.txt"
    text.write_text("…")
    with pytest.raises(DataError, match="'day0/note 2': nothing is left of its text"):
        split_recordings(own, tmp_path / "out", comparable)
    text.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"note 2\.txt: not UTF-8"):
        split_recordings(own, tmp_path / "out", comparable)
    text.unlink()
    with pytest.raises(DataError, match=r"its text 'note 2\.txt' is not beside it"):
        split_recordings(own, tmp_path / "out", comparable)


def test_the_script_prepares_them(tmp_path: Path, repository: Path) -> None:
    write_own(tmp_path / "own", 6)
    sf.write(tmp_path / "own" / "long.wav", np.zeros(21 * 16_000), 16_000)
    (tmp_path / "own" / "long.txt").write_text("A long one")
    out = tmp_path / "out"
    command = [sys.executable, "scripts/prepare_data.py", "--recordings", str(tmp_path / "own"), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(open_store(out, "train", ["own"], (1.0,))) == 6
    assert len(open_store(out, "dev", ["own"], (1.0,))) == 1
    held_back = load_dataset(out / "dev" / "own" / "own.jsonl")
    assert [u.id for u in held_back] == [c.id for c in read_part(out, "dev", ("own",))["own"]]
    assert ("longer than 20 s" in done.stdout) == (held_back[0].id != "long")

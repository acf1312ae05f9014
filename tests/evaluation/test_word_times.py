"""scripts/word_times.py: times that are known, late ones, and files that don't belong together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PIECES = ("<blank>", "▁A", "B", "▁")
PATH = [0, 1, 0, 2, 0, 0, 1, 0, 0]


def write(path: Path, late: int, ids: list[str]) -> None:
    frames = [0] * late + PATH
    log_probs = np.full((len(frames), len(PIECES)), np.log(0.02), dtype=np.float16)
    log_probs[np.arange(len(frames)), frames] = np.log(0.94)
    arrays: dict[str, Any] = {"ids": np.array(ids), "texts": np.array(["AB A"]), "pieces": np.array(PIECES)}
    arrays |= {"seconds": np.array([0.4]), "frames": np.array([len(frames)]), "encoder_seconds": np.array(1.0)}
    arrays["log_probs"] = log_probs
    np.savez(path, **arrays)


def run(repository: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "scripts" / "word_times.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)


@pytest.mark.parametrize(("late", "error"), [(0, 0), (2, 80)])
def test_the_error_is_how_late_words_come(repository: Path, tmp_path: Path, late: int, error: int) -> None:
    write(tmp_path / "streamed.npz", late, ["one"])
    write(tmp_path / "full.npz", 0, ["one"])
    done = run(repository, tmp_path / "streamed.npz", tmp_path / "full.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"| greedy | 2 | {error} | {error} | {error} | {error} |"


def test_other_utterances_are_refused(repository: Path, tmp_path: Path) -> None:
    write(tmp_path / "streamed.npz", 0, ["one"])
    write(tmp_path / "full.npz", 0, ["two"])
    done = run(repository, tmp_path / "streamed.npz", tmp_path / "full.npz")
    assert done.returncode == 1
    assert "lacks the utterance 'one'" in done.stderr

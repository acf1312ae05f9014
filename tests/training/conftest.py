"""A prepared data folder, made once by the project's own script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.corpora import write_pair


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Two training corpora and one dev corpus, unpacked, checked, and with cached features."""
    root = tmp_path_factory.mktemp("corpora")
    write_pair(root / "train", "tones", 40, 1)
    write_pair(root / "train", "more-tones", 12, 2)
    write_pair(root / "dev", "dev-tones", 8, 3)
    write_pair(root / "noise", "clips", 2, 4)
    (root / "noise" / "clips.jsonl").unlink()
    out = root / "prepared"
    command = [sys.executable, "scripts/prepare_data.py", "--from", str(root), "--out", str(out), "--speeds", "0.9,1.0"]
    done = subprocess.run(command, cwd=repository, env=_environment(repository), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "more-tones" in done.stdout
    return out


def _environment(repository: Path) -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}

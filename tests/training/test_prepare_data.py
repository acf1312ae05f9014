"""scripts/prepare_data.py: the guide's commands on public data, noise archives, and what is said of wrong arguments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lhotse.bin.modes import download

from edge_asr.training.config import TrainConfig
from edge_asr.training.data.batches import read_part
from edge_asr.training.dev_sets import DevSets
from edge_asr.training.tokenizer import Tokenizer
from tests.training.corpora import write_librispeech, write_pair


def prepare(repository: Path, *options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    command = [sys.executable, "scripts/prepare_data.py", "--jobs", "1", *map(str, options)]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``lhotse download librispeech --mini`` leaves it."""
    root = tmp_path_factory.mktemp("mini") / "LibriSpeech"
    write_librispeech(root / "train-clean-5", 6, 0)
    write_librispeech(root / "dev-clean-2", 4, 1)
    return root


def test_the_guide_s_commands_fit_together(repository: Path, mini: Path, tmp_path: Path) -> None:
    pages = [(repository / name).read_text() for name in ("README.md", "docs/guides/training.md")]
    done = prepare(repository, "--librispeech", mini, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in pages:
        chosen = re.findall(r"train\.py --config (\S+) --data prepared --out runs/mine", page)
        assert chosen == ["scripts/configs/mini.yaml"]
        config = TrainConfig.load(repository / chosen[0])
        train = read_part(tmp_path, "train", config.data.train)
        assert list(train) == ["librispeech-train-clean-5"]
        tokenizer = Tokenizer.train([c.supervisions[0].text for c in train["librispeech-train-clean-5"]], 12)
        assert list(DevSets(config, tmp_path, tokenizer).batches) == ["librispeech-dev-clean-2"]


def test_the_download_that_the_guide_names_exists(repository: Path) -> None:
    options = {o for p in download.commands["librispeech"].params for o in (*p.opts, *p.secondary_opts)}
    for name in ("README.md", "docs/guides/training.md", "scripts/prepare_data.py", "scripts/configs/mini.yaml"):
        used = re.findall(r"lhotse download librispeech (-\S+)", (repository / name).read_text())
        assert used == ["--mini"]
        assert set(used) <= options


def test_another_noise_archive_takes_the_place_of_the_first(repository: Path, mini: Path, tmp_path: Path) -> None:
    tars = [write_pair(tmp_path / "noise", name, 1, seed)[0] for seed, name in enumerate(("first", "second"))]
    heard = []
    for tar in (*tars, tars[1]):
        done = prepare(repository, "--librispeech", mini, "--out", tmp_path / "out", "--noise", tar)
        assert done.returncode == 0, done.stdout + done.stderr
        heard.append((tmp_path / "out" / "noise" / "noise.npy").stat().st_mtime_ns)
        assert sorted(p.name for p in (tmp_path / "out" / "noise").iterdir()) == ["noise.npy", "noise.sha256"]
    assert heard[0] < heard[1] == heard[2]
    # An older folder does not say whose noise it has: it is believed.
    (tmp_path / "out" / "noise" / "noise.sha256").unlink()
    before = np.load(tmp_path / "out" / "noise" / "noise.npy")
    assert not prepare(repository, "--librispeech", mini, "--out", tmp_path / "out", "--noise", tars[0]).returncode
    assert np.array_equal(np.load(tmp_path / "out" / "noise" / "noise.npy"), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noise", "none.tar"], "noise archive 'none.tar' does not exist"),
        (["--noise", "README.md"], "noise archive 'README.md' cannot be unpacked"),
        (["--speeds", "fast"], "--speeds is 'fast'; allowed: numbers from 0.5 to 2"),
        (["--speeds", "1.0,3"], "--speeds is '1.0,3'"),
        (["--librispeech", "nowhere"], "folder 'nowhere' does not exist"),
    ],
)
def test_wrong_arguments(options: list[str], message: str, repository: Path, mini: Path, tmp_path: Path) -> None:
    done = prepare(repository, "--librispeech", mini, "--out", tmp_path, *options)
    assert done.returncode == 1
    assert message in done.stdout
    assert "Traceback" not in done.stderr

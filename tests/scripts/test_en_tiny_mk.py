"""scripts/en-tiny.mk: every step calls what is there, with options that it has, on what an earlier step made."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_asr.training.config import TrainConfig

GIVEN = {"DEV": "dev.jsonl", "TEXT": "text.gz", "ARPA": "a.arpa", "DICTIONARY": "d.dict", "NOISE": "noise.tar"}
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(repository: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    command = ["make", "-n", "-f", "scripts/en-tiny.mk", *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def commands(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The commands in order, with paths below OUT as they are."""
    data = tmp_path_factory.mktemp("data")
    (data / "train").mkdir()
    (data / "train" / "heard.jsonl").touch()
    done = make(repository, **GIVEN, DATA=data, OUT="OUT")
    assert done.returncode == 0, done.stderr
    return [
        part
        for line in done.stdout.splitlines()
        for part in re.split(r" && ", line)
        if not re.match("mkdir|touch", part)
    ]


def test_programs_and_their_options_are_there(repository: Path, commands: list[str]) -> None:
    called = set()
    for command in commands:
        script = re.search(r"scripts/\w+\.py", command)
        if script:
            source = (repository / script[0]).read_text()
        elif "-m export" in command:
            source = "".join((repository / "export" / name).read_text() for name in ("__main__.py", "lm.py"))
        elif command.startswith("edge-asr calibrate"):
            source = (repository / "edge_asr" / "cli" / "calibrate.py").read_text()
        else:
            continue
        called.add(script[0] if script else command.split()[0])
        for option in re.findall(r" (--[a-z-]+)", command.partition(".py")[2] or command):
            assert f'"{option}"' in source, command
    assert len(called) == 8


def test_each_step_uses_what_an_earlier_one_made(commands: list[str]) -> None:
    made: list[str] = []
    for command in commands:
        outputs = re.findall(r"(?:--out|--weights|mv \S+\.partial) (OUT/\S+)", command)
        used = set(re.findall(r"OUT/[^\s;]+", command)) - set(outputs)
        for path in used:
            assert any(path.startswith(earlier.rstrip("0123456789")) for earlier in made), command
        made += outputs
    assert "OUT/bundle/en-tiny" in made


def test_configurations_follow_one_another(repository: Path, commands: list[str]) -> None:
    runs = [command for command in commands if "scripts/train.py" in command]
    configs = [TrainConfig.load(repository / re.findall(r"--config (\S+)", run)[0]) for run in runs]
    assert len(runs) == 8
    assert all(("torchrun" in run) == (config.optim.local_steps > 1) for run, config in zip(runs, configs, strict=True))
    assert sum(config.optim.minutes for config in configs) == pytest.approx(728, abs=1)
    assert ["--init" in run for run in runs] == [False] + [True] * 7
    heads = [config.model.phones for config in configs]
    assert heads == [0] * 6 + [79] * 2


def test_what_is_missing_is_named(repository: Path) -> None:
    done = make(repository, **GIVEN, OUT="OUT")
    assert done.returncode != 0
    assert "DATA is not given; needed are DATA DEV" in done.stderr

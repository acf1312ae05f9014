"""The program as a whole: what it imports, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edge_asr
from tests.cli.conftest import Run, Spawn

# Runs commands one after the other, with the training tools barred, and prints what was imported.
PROBE = """
import json, sys
from importlib.abc import MetaPathFinder

BARRED = {"torch", "torchaudio", "lhotse", "sentencepiece", "safetensors", "tensorboard", "yaml", "onnx"}

class Bar(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BARRED:
            raise ImportError(f"{name} is barred")
        return None

sys.meta_path.insert(0, Bar())
from edge_asr.cli.app import app

codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        codes.append(end.code)
print(json.dumps({"codes": codes, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_no_command_reaches_the_training_tools(spawn: Spawn, fake_model: Path, samples: Path) -> None:
    model, manifest = ["--model", str(fake_model)], str(samples / "manifest.jsonl")
    commands = [
        ["transcribe", str(samples / "commonvoice-40269020.flac"), *model],
        ["eval", manifest, *model, "--limit", "1"],
        ["info", str(fake_model)],
        ["demo", manifest, *model],
    ]
    result = spawn("-c", PROBE, json.dumps(commands))
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["codes"] == [0, 0, 0, 0]
    assert not {"torch", "lhotse", "sentencepiece", "onnx"} & set(found["modules"])


def test_help_comes_at_once(spawn: Spawn) -> None:
    """Help, the version and bad usage need no engine, no arrays and no tables."""
    commands = [["--help"], ["--version"], ["transcribe", "--help"], ["eval"], ["demo", "--help"]]
    result = spawn("-c", PROBE, json.dumps(commands))
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["codes"] == [0, 0, 0, 2, 0]
    assert not {"numpy", "onnxruntime", "soundfile", "jiwer"} & set(found["modules"])


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"edge-asr {edge_asr.__version__}\n"


def test_the_package_and_the_code_agree_on_the_version_and_the_entry_point(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text()
    assert f'\nversion = "{edge_asr.__version__}"\n' in text
    assert '\nedge-asr = "edge_asr.cli.app:main"\n' in text


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["--no-such-option"]])
def test_bad_usage(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_debug_shows_where(spawn: Spawn, fake_model: Path) -> None:
    command = ["-m", "edge_asr.cli.app", "info", "en-huge"]
    quiet = spawn(*command)
    assert quiet.returncode == 1
    assert quiet.stderr.startswith("error: model 'en-huge'")
    assert quiet.stderr.count("\n") == 1
    loud = spawn(*command, "--debug")
    assert loud.returncode == 1
    assert "Traceback" in loud.stderr
    assert "UnknownModelError" in loud.stderr


def test_a_reader_that_goes_away_is_no_error(spawn: Spawn, fake_model: Path, samples: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "program = subprocess.Popen([sys.executable, '-m', 'edge_asr.cli.app', *sys.argv[1:]],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)\n"
        "program.stdout.close()\n"
        "print(program.stderr.read(), end='')\n"
    )
    files = sorted(samples.glob("*.flac"))
    result = spawn("-c", script, "transcribe", *files, "--model", fake_model)
    assert "Traceback" not in result.stdout
    assert "error:" not in result.stdout


def test_results_need_a_place(spawn: Spawn, fake_model: Path, samples: Path) -> None:
    script = (
        "import os, sys\n"
        "os.close(1)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'edge_asr.cli.app', *sys.argv[1:]])\n"
    )
    result = spawn("-c", script, "transcribe", samples / "commonvoice-40269020.flac", "--model", fake_model)
    assert result.returncode == 1
    assert result.stderr == "error: stdout is closed; expected a place for results, such as /dev/null\n"

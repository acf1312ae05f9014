"""`edge-asr demo`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_asr.cli.demo import COLOURS, cells
from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.wer import ErrorCount, word_errors
from edge_asr.runtime.recognizer import Recognizer
from tests.cli.conftest import Run, Spawn

COLOUR = re.compile(r"\x1b\[[0-9;]*\b[34]8;")


def plain(text: str) -> str:
    """Without escape sequences, in one line."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def test_shows_all_there_is_to_see(run: Run, fake_model: Path, samples: Path) -> None:
    result = run("demo", samples / "manifest.jsonl", "--model", fake_model)
    assert result.exit_code == 0
    assert "\x1b[" not in result.stdout
    shown = plain(result.stdout)
    recognizer, total = Recognizer.load(fake_model), ErrorCount()
    for utterance in load_dataset(samples / "manifest.jsonl"):
        transcript = recognizer.transcribe(utterance.audio)
        errors = word_errors(utterance.text, transcript.text)
        total += errors
        exits = " ".join(str(chunk.exit) for chunk in transcript.chunks)
        assert f"text {transcript.text} reference {utterance.text.lower()} WER {errors.rate:.1%} exits {exits}" in shown
    assert f"WER {total.rate:.1%} ({total.errors} errors in {total.reference} words)" in shown
    assert shown.count("real-time factor") == 6


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_in_a_terminal_only(
    spawn: Spawn, fake_model: Path, samples: Path, environment: dict[str, str], coloured: bool
) -> None:
    command = ["-m", "edge_asr.cli.app", "demo", samples / "manifest.jsonl", "--model", fake_model]
    result = spawn(*command, **environment, COLORTERM="truecolor", TERM="xterm-256color")
    assert result.returncode == 0, result.stderr
    assert bool(COLOUR.search(result.stdout)) == coloured
    assert "exits" in plain(result.stdout)


def test_cells_tell_depth_by_number_and_colour() -> None:
    line = cells([1, 6, 3], 6)
    assert line.plain == " 1  6  3 "
    assert [span.style for span in line.spans] == [f"black on {COLOURS[i]}" for i in (0, 5, 2)]
    assert [span.style for span in cells([1, 2], 2).spans] == [f"black on {COLOURS[i]}" for i in (0, 5)]
    assert cells([1], 1).spans[0].style == f"black on {COLOURS[0]}"


def test_exit_out_of_range(run: Run, fake_model: Path, samples: Path) -> None:
    result = run("demo", samples / "manifest.jsonl", "--model", fake_model, "--exit", "7")
    assert result.exit_code == 1
    assert "exit=7" in result.stderr

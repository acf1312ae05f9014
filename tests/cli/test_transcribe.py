"""`edge-asr transcribe`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asr.runtime.recognizer import Recognizer
from edge_asr.runtime.transcript import Transcript
from tests.cli.conftest import Run


@pytest.fixture
def audio(samples: Path) -> Path:
    return samples / "librispeech-1272-128104-0000.flac"


def error_line(result: Any) -> str:
    """The one line on stderr of a run that failed."""
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return str(line)


def test_one_file_is_one_line_of_text(run: Run, fake_model: Path, audio: Path) -> None:
    result = run("transcribe", audio, "--model", fake_model)
    assert result.exit_code == 0
    assert result.stdout == Recognizer.load(fake_model).transcribe(audio).text + "\n"
    assert result.stderr == ""


def test_several_files_are_told_apart(run: Run, fake_model: Path, samples: Path) -> None:
    files = sorted(samples.glob("commonvoice-*.flac"))
    lines = run("transcribe", *files, "--model", fake_model).stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(file) for file in files]


@pytest.mark.parametrize("options", [[], ["--exit", "2"], ["--chunk", "320"], ["--chunk", "full", "--exit", "3"]])
def test_json_is_the_transcript(run: Run, fake_model: Path, audio: Path, options: list[str]) -> None:
    result = run("transcribe", audio, "--model", fake_model, "--format", "json", *options)
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert list(found) == [
        "file",
        "text",
        "decoder",
        "duration",
        "seconds",
        "rtf",
        "mean_exit",
        "words",
        "chunks",
    ]
    given = dict(zip(options[::2], options[1::2], strict=True))
    expected = Recognizer.load(fake_model).transcribe(
        audio, chunk=given.get("--chunk", 640), exit=given.get("--exit", "auto")
    )
    assert found["file"] == str(audio)
    assert found["text"] == expected.text
    assert found["duration"] == pytest.approx(expected.duration, abs=1e-3)
    assert found["mean_exit"] == pytest.approx(expected.mean_exit, abs=1e-4)
    assert found["rtf"] == pytest.approx(found["seconds"] / found["duration"], rel=0.05)
    assert len(found["chunks"]) == len(expected.chunks)
    for chunk, part in zip(found["chunks"], expected.chunks, strict=True):
        assert list(chunk) == ["start", "end", "exit", "entropy", "max_posterior"]
        assert chunk["exit"] == part.exit
        assert chunk["entropy"] == pytest.approx(part.entropy, abs=1e-6)
        assert chunk["start"] == pytest.approx(part.start, abs=1e-3)


def test_a_fixed_exit_is_every_chunk_s(run: Run, fake_model: Path, audio: Path) -> None:
    result = run("transcribe", audio, "--model", fake_model, "--format", "json", "--exit", "2")
    assert {chunk["exit"] for chunk in json.loads(result.stdout)["chunks"]} == {2}


@pytest.mark.parametrize("exit", ["0", "4", "-1"])
def test_exit_out_of_range(run: Run, fake_model: Path, audio: Path, exit: str) -> None:
    result = run("transcribe", audio, "--model", fake_model, "--exit", exit)
    line = error_line(result)
    assert f"exit={exit}" in line
    assert "1 to 3" in line
    assert result.stdout == ""


def test_an_option_the_model_does_not_allow_is_said_before_any_file(run: Run, fake_model: Path) -> None:
    assert "exit=9" in error_line(
        run("transcribe", "nowhere.wav", "nowhere2.wav", "--model", fake_model, "--exit", "9")
    )


def test_no_such_file(run: Run, fake_model: Path) -> None:
    assert "'nowhere.wav' doesn't exist" in error_line(run("transcribe", "nowhere.wav", "--model", fake_model))


def test_empty_file(run: Run, fake_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "empty" in error_line(run("transcribe", tmp_path / "empty.wav", "--model", fake_model))


def test_audio_file_without_samples(run: Run, fake_model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    assert "empty" in error_line(run("transcribe", tmp_path / "none.wav", "--model", fake_model))


def test_text_file_named_wav(run: Run, fake_model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is not audio\n" * 100)
    assert "text.wav' isn't an audio file" in error_line(
        run("transcribe", tmp_path / "text.wav", "--model", fake_model)
    )


def test_unknown_model_names_the_known_ones(
    run: Run, fake_model: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_ASR_MODELS", str(fake_model.parent))
    line = error_line(run("transcribe", audio, "--model", "en-huge"))
    assert "'en-huge'" in line
    assert "fake" in line
    assert run("transcribe", audio, "--model", "fake").exit_code == 0


def test_truncated_bundle(run: Run, fake_model_copy: Path, audio: Path) -> None:
    graph = fake_model_copy / "int8" / "segment2.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    line = error_line(run("transcribe", audio, "--model", fake_model_copy))
    assert "segment2.onnx" in line
    assert "cut off" in line


def test_wrong_checksum(run: Run, fake_model_copy: Path, audio: Path) -> None:
    tokens = fake_model_copy / "tokens.txt"
    tokens.write_text(tokens.read_text().replace("B", "X"))
    line = error_line(run("transcribe", audio, "--model", fake_model_copy))
    assert "tokens.txt" in line
    assert "checksum" in line


def test_a_bad_file_does_not_lose_the_others(run: Run, fake_model: Path, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    good = sorted(samples.glob("*.flac"))
    files = [good[0], tmp_path / "bad.wav", good[1], tmp_path / "missing.wav", *good[2:]]
    result = run("transcribe", *files, "--model", fake_model, "--format", "json")
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(file) for file in good]
    bad, missing = result.stderr.splitlines()
    assert "bad.wav" in bad
    assert "missing.wav" in missing


def test_a_name_that_is_not_unicode(run: Run, fake_model: Path, audio: Path, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"caf\xe9.flac")
    try:
        shutil.copy(audio, strange)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    result = run("transcribe", strange, audio, "--model", fake_model)
    assert result.exit_code == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.partition("flac: ")[2] == second.partition("flac: ")[2]
    assert "caf\ufffd.flac" in first


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (["--decoder", "beams"], "greedy"),
        (["--chunk", "500"], "640"),
        (["--format", "srt"], "json"),
        (["--exit", "deep"], "auto"),
        (["--threads", "0"], "1"),
        (["--threads", "many"], "integer"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_usage(run: Run, fake_model: Path, audio: Path, options: list[str], allowed: str) -> None:
    result = run("transcribe", audio, "--model", fake_model, *options)
    assert result.exit_code == 2
    assert allowed in result.stderr
    assert result.stdout == ""


def test_nothing_to_transcribe(run: Run) -> None:
    assert run("transcribe").exit_code == 2


def test_the_precision_is_the_one_asked_for(run: Run, fake_model: Path, audio: Path) -> None:
    fixed = ["--model", fake_model, "--exit", "3", "--precision"]
    texts = {name: run("transcribe", audio, *fixed, name).stdout for name in ("int8", "float32")}
    assert texts["int8"] != texts["float32"]  # the fake model's precisions have other weights
    assert "float32" in error_line(run("transcribe", audio, *fixed, "int3"))


def test_interruption_keeps_what_was_printed(
    run: Run, fake_model: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribe = Recognizer.transcribe
    calls = []

    def interrupted(self: Recognizer, *arguments: Any, **options: Any) -> Transcript:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return transcribe(self, *arguments, **options)

    monkeypatch.setattr(Recognizer, "transcribe", interrupted)
    result = run("transcribe", *sorted(samples.glob("*.flac")), "--model", fake_model)
    assert result.exit_code == 130
    assert len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.output


def test_an_error_of_ours_is_one_line_too(
    run: Run, fake_model: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Transcript:
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr(Recognizer, "transcribe", broken)
    line = error_line(run("transcribe", audio, "--model", fake_model))
    assert line == "error: unexpected ZeroDivisionError: a bug in two lines (--debug shows where)"
    result = run("transcribe", audio, "--model", fake_model, "--debug")
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_budget_and_a_monitor(run: Run, fake_model: Path, samples: Path, tmp_path: Path) -> None:
    file, log = min(samples.glob("*.flac")), tmp_path / "monitor.json"
    options = ["--model", fake_model, "--exit", "3", "--format", "json", "--monitor", log]
    result = run("transcribe", file, *options, "--budget", "max_exit=2")
    assert result.exit_code == 0, result.stderr
    assert {chunk["exit"] for chunk in json.loads(result.stdout)["chunks"]} == {2}
    assert json.loads(log.read_text())["exits"]["2"] > 0
    assert "budget: rtf=0.0" in run("transcribe", file, *options, "--budget", "rtf=0").stderr
    options[-1] = tmp_path / "no" / "where.json"
    late = run("transcribe", file, *options)
    assert "cannot be written" in late.stderr
    assert not late.stdout  # said before any work

"""The contest: alternating order, failures that stop nobody else, and going on after an interruption."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.peers.contest import Clip, Contest, convert
from edge_asr.evaluation.peers.journal import Journal
from edge_asr.evaluation.peers.report import Comparison, as_markdown, compare
from edge_asr.evaluation.peers.system import System

Make = Callable[..., System]


def contest(systems: Sequence[System], clips: Sequence[Clip], folder: Path, command: Sequence[str]) -> Contest:
    journal = Journal(folder, [clip.utterance for clip in clips], 1)
    return Contest(systems, clips, journal, lambda _: command, loads=2, report=lambda _: None)


def comparison(run: Contest) -> Comparison:
    return compare(run.systems, run.clips, run.journal, run.failures, "b", {"on": "a machine"})


def test_clips_are_what_every_recogniser_can_read(clips: list[Clip]) -> None:
    with wave.open(str(clips[0].path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
    assert clips[0].seconds == pytest.approx(0.1, abs=0.01)


def test_no_two_ids_share_a_clip(clips: list[Clip], tmp_path: Path) -> None:
    audio = clips[0].utterance.audio
    ids = ("a/b", "a_b", "a%2Fb", "..")
    paths = [convert(Utterance(name, audio, "ONE"), tmp_path).path for name in ids]
    assert len(set(paths)) == len(ids)
    assert {path.parent for path in paths} == {tmp_path}


def test_everyone_hears_everything_in_changing_order(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path, asked: Callable[[], list[str]]
) -> None:
    systems = [make_system(name) for name in "abc"]
    ticks: list[int] = []
    contest(systems, clips, tmp_path / "out", fake_worker).run(lambda: ticks.append(1))
    assert len(ticks) == 12
    log = [line for line in asked() if not line.endswith("start")]
    assert log[:3] == ["a u0.wav", "b u0.wav", "c u0.wav"]  # warm-up, each after its own start
    rounds = [[line.split()[0] for line in log[i : i + 3]] for i in range(3, len(log), 3)]
    assert [sorted(names) for names in rounds] == [["a", "b", "c"]] * 4
    assert len({tuple(names) for names in rounds}) > 1


def test_a_failing_one_is_left_out_and_the_others_go_on(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path
) -> None:
    systems = [
        make_system("a", good=3, then="die"),
        make_system("b", text="ONE", cpu=0.2),
        make_system("c", first={"error": "no such model"}),
        make_system("d", text="one, 2!", cpu=0.1),
    ]
    run = contest(systems, clips, tmp_path / "out", fake_worker)
    run.run()
    assert set(run.failures) == {"a", "c"}
    result = comparison(run)
    assert [row.name for row in result.rows] == ["d", "b"]  # cheaper first
    assert [row.wer for row in result.rows] == [0.0, 0.5]
    assert [row.ratio for row in result.rows] == [0.5, 1.0]
    assert result.rows[0].rtf == pytest.approx(0.1 / clips[0].seconds)
    assert result.rows[0].peak_rss == 1004
    assert (result.words, result.speakers, result.utterances) == (8, 2, 4)
    text = as_markdown(result)
    assert "| d | 0.0 | 0.0–0.0 |" in text
    assert "- **c**: c: no such model" in text
    json.dumps(result.as_json(), allow_nan=False)


def test_it_goes_on_where_it_was_interrupted(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path, asked: Callable[[], list[str]]
) -> None:
    systems = [make_system("a"), make_system("b")]
    count = 0

    def interrupt() -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contest(systems, clips, tmp_path / "out", fake_worker).run(interrupt)
    with (tmp_path / "out" / "answers.jsonl").open("a") as file:
        file.write('{"system": "a", "utt')  # killed in the middle of a line
    before = len(asked())
    ticks: list[int] = []
    again = contest(systems, clips, tmp_path / "out", fake_worker)
    again.run(lambda: ticks.append(1))
    assert len(ticks) == 8
    files = [line for line in asked()[before:] if not line.endswith("start")]
    assert len(files) == 2 + 3  # a warm-up each, and what was missing
    assert {row.name for row in comparison(again).rows} == {"a", "b"}
    before = len(asked())
    contest(systems, clips, tmp_path / "out", fake_worker).run()
    assert len(asked()) == before  # nothing to do


def test_answers_with_unicode_line_separators_are_read_again(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path
) -> None:
    system = make_system("a", text="ONE\u2028TWO\u0085")
    contest([system], clips, tmp_path / "out", fake_worker).run()
    again = contest([system], clips, tmp_path / "out", fake_worker)
    assert {answer.text for answer in again.journal.answers("a").values()} == {"ONE\u2028TWO\u0085"}


def test_the_report_says_what_intervals_resample(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path
) -> None:
    run = contest([make_system("b")], clips, tmp_path / "out", fake_worker)
    run.run()
    result = comparison(run)
    assert as_markdown(result).endswith("Intervals resample speakers.\n")
    alone = as_markdown(replace(result, speakers=1))
    assert "There is one speaker: intervals resample utterances" in alone
    assert "resample speakers" not in alone


def test_one_that_failed_is_tried_again(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path
) -> None:
    system = make_system("a", good=3, then="die")
    for answers in (2, 4):
        run = contest([system], clips, tmp_path / "out", fake_worker)
        run.run()
        assert len(run.journal.answers("a")) == answers
    assert [row.name for row in comparison(run).rows] == ["a"]


def test_a_folder_holds_one_run(clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path) -> None:
    contest([make_system("a")], clips, tmp_path / "out", fake_worker).run()
    with pytest.raises(OptionError, match="holds a run with utterances 4, not 3"):
        contest([make_system("a")], clips[:3], tmp_path / "out", fake_worker)
    with pytest.raises(OptionError, match="answers of 'a' with other settings"):
        contest([make_system("a", text="THREE")], clips, tmp_path / "out", fake_worker).run()
    answers = tmp_path / "out" / "answers.jsonl"
    answers.write_text("{}\n" + answers.read_text())
    with pytest.raises(DataError, match=r"answers\.jsonl:1: malformed"):
        contest([make_system("a")], clips, tmp_path / "out", fake_worker)
    (tmp_path / "out" / "run.json").write_text("[]")
    with pytest.raises(DataError, match=r"run\.json: is not one of this project's"):
        contest([make_system("a")], clips, tmp_path / "out", fake_worker)


def test_other_audio_under_the_same_ids_is_another_run(
    clips: list[Clip], make_system: Make, fake_worker: list[str], tmp_path: Path
) -> None:
    contest([make_system("a")], clips, tmp_path / "out", fake_worker).run()
    noisy = tmp_path / "noisy.flac"
    soundfile.write(noisy, np.random.default_rng(0).uniform(-0.1, 0.1, 800), 8000)
    other = [replace(clips[0], utterance=replace(clips[0].utterance, audio=noisy)), *clips[1:]]
    with pytest.raises(OptionError, match=r"holds a run with audio '[0-9a-f]{16}', not"):
        contest([make_system("a")], other, tmp_path / "out", fake_worker)
    elsewhere = tmp_path / "copy.flac"
    elsewhere.write_bytes(clips[0].utterance.audio.read_bytes())
    same = [replace(clips[0], utterance=replace(clips[0].utterance, audio=elsewhere)), *clips[1:]]
    assert len(contest([make_system("a")], same, tmp_path / "out", fake_worker).journal.answers("a")) == 4

"""Which sentences are chosen, and the script that has them read aloud."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError
from edge_asr.training.data.coverage import choose, count_words, read_sentences

words = st.sampled_from(["A", "CAT", "SAT", "ON", "THE", "MAT", "AND", "A", "YAK", "ATE", "IT"])
sentences = st.lists(st.lists(words, min_size=1, max_size=6), max_size=20)


@given(sentences, st.integers(0, 60))
def test_chosen_sentences_are_some_of_those_given_each_once(given: list[list[str]], count: int) -> None:
    known = Counter[str]()
    chosen = choose(given, known, count)
    rest = Counter(map(tuple, given))
    rest.subtract(map(tuple, chosen))
    assert min(rest.values(), default=0) >= 0
    assert known == Counter(word for sentence in chosen for word in sentence)
    taken, longest = sum(map(len, chosen)), max(map(len, given), default=0)
    assert taken >= min(count, sum(map(len, given)))
    assert taken < count + longest or not chosen


def test_unseen_words_come_first_and_only_until_they_are_seen() -> None:
    common, rare = ["THE", "CAT", "SAT", "DOWN"], ["THE", "OKAPI", "SAT", "DOWN"]
    other = ["THE", "GNU", "SAT", "DOWN"]
    known = Counter({"THE": 50, "CAT": 50, "SAT": 50, "DOWN": 50})
    # Twice the okapi is worth less than an okapi and a gnu.
    assert sorted(choose([common, rare, rare, rare, other], known, 8)) == sorted([other, rare])


def test_sentences_are_read_with_and_without_compression(tmp_path: Path) -> None:
    text = "The cat, it sat down.\nthe cat it sat\nTwo words\nThe cat sat un-seen once\n"
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    expected = [["THE", "CAT", "IT", "SAT"]]
    assert read_sentences(tmp_path / "a.txt") == read_sentences(tmp_path / "a.txt.gz") == expected


@pytest.mark.parametrize("data", [b"", b"too short\n", b"\xff\xfe\xff", b"each word only once here\n"])
def test_a_text_without_sentences_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.txt"):
        read_sentences(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b\.gz"):
        read_sentences(tmp_path / "b.gz")


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"text": 3}'])
def test_words_of_manifests_are_counted_and_broken_ones_refused(tmp_path: Path, line: str) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"text": "A CAT"}\n{"text": "A"}\n')
    assert count_words([good, good]) == {"A": 4, "CAT": 2}
    bad.write_text(line + "\n")
    for path in (bad, tmp_path / "none.jsonl"):
        with pytest.raises(DataError, match=path.name):
            count_words([good, path])


def script(*arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/synthesise.py", *map(str, arguments)]
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


TEXT = "the old sailor climbed the ladder\nthe old ladder climbed the sailor\n"


def test_without_flite_or_with_an_unknown_voice_the_script_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    done = script(tmp_path / "a.txt", "--out", tmp_path / "data", path=str(tmp_path))
    assert done.returncode == 2
    assert "flite is not installed" in done.stderr
    done = script(tmp_path / "a.txt", "--out", tmp_path / "data", "--voices", "slt,hal")
    assert done.returncode == 2
    assert "'hal'" in done.stderr
    assert "slt" in done.stderr
    done = script(tmp_path / "a.txt", "--out", tmp_path / "data", "--voices", "slt", "--engine", "hibari")
    assert done.returncode == 2
    assert "only with --engine flite" in done.stderr


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("flite", marks=pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")),
        pytest.param("hibari", marks=pytest.mark.skipif(find_spec("hibari") is None, reason="needs hibari-tts")),
    ],
)
def test_what_is_read_aloud_is_a_corpus(tmp_path: Path, engine: str) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "known.jsonl").write_text(json.dumps({"text": "THE OLD SAILOR"}) + "\n")
    arguments = (
        tmp_path / "a.txt",
        "--out",
        tmp_path / "data",
        "--known",
        tmp_path / "known.jsonl",
        "--engine",
        engine,
    )
    done = script(*arguments)
    assert done.returncode == 0, done.stderr
    train = tmp_path / "data" / "train"
    rows = [json.loads(line) for line in (train / f"synthetic-{engine}.jsonl").read_text().splitlines()]
    assert sorted(row["text"] for row in rows) == sorted(line.upper() for line in TEXT.splitlines())
    with tarfile.open(train / f"synthetic-{engine}.tar") as tar:
        assert sorted(tar.getnames()) == sorted(row["audio"] for row in rows)
    for row in rows:
        info = soundfile.info(train / row["audio"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert info.duration == pytest.approx(row["duration"], abs=1e-3)
        assert 1 < info.duration < 6
    before = (train / rows[0]["audio"]).stat().st_mtime_ns
    assert script(*arguments).returncode == 0
    assert (train / rows[0]["audio"]).stat().st_mtime_ns == before
    # Other options take nothing of what the first run left there.
    assert script(*arguments, "--seed", 1).returncode == 0
    others = [json.loads(line) for line in (train / f"synthetic-{engine}.jsonl").read_text().splitlines()]
    assert not {row["audio"] for row in rows} & {row["audio"] for row in others}


def test_quotation_marks_are_no_part_of_words(tmp_path: Path) -> None:
    line = "'Come in here,' said the old man's wife. 'Don't!' - '\n"
    (tmp_path / "a.txt").write_text(2 * line)
    [words, _] = read_sentences(tmp_path / "a.txt")
    assert words == ["COME", "IN", "HERE", "SAID", "THE", "OLD", "MAN'S", "WIFE", "DON'T"]


def test_blank_lines_of_manifests_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "A CAT"}\n\n{"text": "A"}\n')
    assert count_words([tmp_path / "a.jsonl"]) == {"A": 2, "CAT": 1}

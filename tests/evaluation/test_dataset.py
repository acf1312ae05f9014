"""Reading data sets, and what is said about bad ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.dataset import Utterance, load_dataset, sample


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    """Two subsets; dev-clean has two speakers and two kinds of audio file."""
    for subset, speaker, chapter, ending, lines in (
        ("dev-clean", "84", "121123", "flac", ["GO", "DO YOU HEAR"]),
        ("dev-clean", "174", "50561", "opus", ["FORGOTTEN TOO"]),
        ("dev-other", "116", "288045", "wav", ["AS I APPROACHED"]),
    ):
        folder = tmp_path / "LibriSpeech" / subset / speaker / chapter
        folder.mkdir(parents=True)
        names = [f"{speaker}-{chapter}-{index:04d}" for index in range(len(lines))]
        for name in names:
            (folder / f"{name}.{ending}").touch()
        text = "".join(f"{name} {line}\n" for name, line in zip(names, lines, strict=True))
        (folder / f"{speaker}-{chapter}.trans.txt").write_text(text, encoding="utf-8")
    return tmp_path


def write_manifest(path: Path, *entries: object) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def test_librispeech_layout(librispeech: Path) -> None:
    utterances = load_dataset(librispeech, "dev-clean")
    assert [(u.id, u.speaker, u.text) for u in utterances] == [
        ("174-50561-0000", "174", "FORGOTTEN TOO"),
        ("84-121123-0000", "84", "GO"),
        ("84-121123-0001", "84", "DO YOU HEAR"),
    ]
    assert all(u.audio.is_file() for u in utterances)


def test_subset_may_be_named_from_any_level(librispeech: Path) -> None:
    expected = load_dataset(librispeech, "dev-clean")
    assert load_dataset(librispeech / "LibriSpeech", "dev-clean") == expected
    assert load_dataset(librispeech / "LibriSpeech" / "dev-clean") == expected
    assert load_dataset(librispeech / "LibriSpeech" / "dev-clean", "dev-clean") == expected
    assert len(load_dataset(librispeech)) == len(expected) + 1


def test_unknown_subset_names_those_there_are(librispeech: Path) -> None:
    with pytest.raises(DataError, match=r"'test-clean'.*there: dev-clean, dev-other"):
        load_dataset(librispeech / "LibriSpeech", "test-clean")


def test_missing_audio_names_file_and_line(librispeech: Path) -> None:
    folder = librispeech / "LibriSpeech" / "dev-clean" / "84" / "121123"
    (folder / "84-121123-0001.flac").unlink()
    with pytest.raises(DataError, match=r"84-121123\.trans\.txt:2: no audio for '84-121123-0001'"):
        load_dataset(librispeech)


def test_a_name_that_no_file_can_have_names_file_and_line(librispeech: Path) -> None:
    folder = librispeech / "LibriSpeech" / "dev-clean" / "84" / "121123"
    with (folder / "84-121123.trans.txt").open("a", encoding="utf-8") as file:
        file.write(f"{'8' * 400} A\n")
    with pytest.raises(DataError, match=r"84-121123\.trans\.txt:3: audio file '.*/888.*' cannot be opened"):
        load_dataset(librispeech)


def test_line_without_text_names_file_and_line(librispeech: Path) -> None:
    folder = librispeech / "LibriSpeech" / "dev-clean" / "84" / "121123"
    with (folder / "84-121123.trans.txt").open("a", encoding="utf-8") as file:
        file.write("\n84-121123-0002\n")
    with pytest.raises(DataError, match=r"84-121123\.trans\.txt:4: expected '<id> <text>'"):
        load_dataset(librispeech)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no \*\.trans\.txt"):
        load_dataset(tmp_path)
    (tmp_path / "data.csv").touch()
    with pytest.raises(DataError, match=r"neither a folder nor a \.jsonl manifest"):
        load_dataset(tmp_path / "data.csv")
    (tmp_path / "data.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="empty"):
        load_dataset(tmp_path / "data.jsonl")


def test_manifest_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.flac").touch()
    manifest = write_manifest(
        tmp_path / "m.jsonl", {"id": "a", "audio": "audio/a.flac", "text": "A", "duration": 2, "check": 0.1}
    )
    assert load_dataset(manifest) == [Utterance("a", tmp_path / "audio" / "a.flac", "A", "", 2.0)]


def test_subset_of_a_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    manifest = write_manifest(tmp_path / "m.jsonl", {"id": "a", "audio": "a.flac", "text": "A"})
    with pytest.raises(OptionError, match="subset 'dev-clean' of a manifest"):
        load_dataset(manifest, "dev-clean")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", r"expected a JSON object, got \[1\]"),
        ('{"audio": "a.flac", "text": "A"}', "field 'id' is missing"),
        ('{"id": "b", "text": "A"}', "field 'audio' is missing"),
        ('{"id": "b", "audio": "a.flac"}', "field 'text' is missing"),
        ('{"id": 3, "audio": "a.flac", "text": "A"}', "field 'id' is 3; expected a string"),
        ('{"id": "", "audio": "a.flac", "text": "A"}', "field 'id' is empty"),
        ('{"id": "b", "audio": "a.flac", "text": null}', "field 'text' is null"),
        ('{"id": "b", "audio": "b.flac", "text": "A"}', r"audio file '.*b\.flac' not found"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "speaker": 7}', "field 'speaker' is 7"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": "2"}', "field 'duration' is \"2\""),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": 0}', "field 'duration' is 0"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": true}', "field 'duration' is true"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": NaN}', "field 'duration' is NaN"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": 1' + "0" * 400 + "}", "field 'duration' is 1000"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "duration": 1' + "0" * 9000 + "}", "(not JSON|field 'duration')"),
        (
            '{"id": "b", "audio": "' + "a" * 400 + '.flac", "text": "A"}',
            r"audio file '.*/aaa.*\.flac' cannot be opened: File name too",
        ),
        ('{"id": "b\\ud800", "audio": "a.flac", "text": "A"}', r"field 'id' is .*ud800\": holds half of a surrogate"),
        ('{"id": "b", "audio": "a.flac", "text": "\\ud800"}', "field 'text' is .*: holds half of a surrogate"),
        ('{"id": "b", "audio": "a.flac", "text": "A", "speaker": "\\udfff"}', "field 'speaker' is .*: holds half"),
        ("[" * 100_000, "not JSON that can be read"),
    ],
)
def test_malformed_manifest_names_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "a.flac").touch()
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(f'{{"id": "a", "audio": "a.flac", "text": "A"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.jsonl:3: " + complaint):
        load_dataset(manifest)


def test_repeated_id_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    entry = {"id": "a", "audio": "a.flac", "text": "A"}
    with pytest.raises(DataError, match=r"m\.jsonl: utterance id 'a' occurs more than once"):
        load_dataset(write_manifest(tmp_path / "m.jsonl", entry, entry))


def test_manifest_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"m\.jsonl: not UTF-8 text \(byte 0\)"):
        load_dataset(tmp_path / "m.jsonl")


def utterances(speakers: list[int]) -> list[Utterance]:
    """One utterance for each entry, spoken by that speaker."""
    return [Utterance(f"u{i}", Path("a.flac"), "A", f"s{s}") for i, s in enumerate(speakers)]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 50), st.integers(0, 3))
def test_sample_is_spread_evenly_and_keeps_the_order(speakers: list[int], limit: int, seed: int) -> None:
    data = utterances(speakers)
    taken = sample(data, limit, seed)
    assert len(taken) == min(limit, len(data))
    positions = [data.index(u) for u in taken]
    assert positions == sorted(set(positions))
    count, available = Counter(u.speaker for u in taken), Counter(u.speaker for u in data)
    most = max(count.values(), default=0)
    assert all(count[s] >= min(available[s], most - 1) for s in available)


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 30), st.randoms(use_true_random=False))
def test_sample_depends_on_ids_and_seed_alone(speakers: list[int], limit: int, random: object) -> None:
    data = utterances(speakers)
    shuffled = list(data)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    taken = {u.id for u in sample(data, limit)}
    assert {u.id for u in sample(shuffled, limit)} == taken
    assert taken <= {u.id for u in sample(data, limit + 5)}


def test_another_seed_is_another_sample() -> None:
    data = utterances([i % 10 for i in range(200)])
    assert sample(data, 20, seed=0) != sample(data, 20, seed=1)


def test_sample_of_everything() -> None:
    data = utterances([0, 1, 2])
    assert sample(data, None) == sample(data, 99) == data
    assert sample([], 3) == []
    with pytest.raises(OptionError, match="limit is 0"):
        sample(data, 0)

"""A teacher's states are cached whole, found again at any speed, and never half there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from edge_asr.errors import DataError, MissingExtraError
from edge_asr.training.data.teacher import STEPS, StateStore, WhisperTeacher, cache_states, measure


class Ramp:
    """States that say when they are: their frame's number, and its negative half."""

    def states(self, pcm: Any) -> Any:
        frames = np.arange(-(-len(pcm) // 640), dtype=np.float32)
        return np.stack([frames, -0.5 * frames], axis=1)


class Stopped(Ramp):
    def states(self, pcm: Any) -> Any:
        raise KeyboardInterrupt


def cut(folder: Path, name: str, seconds: float) -> Any:
    path = folder / f"{name}.wav"
    sf.write(path, np.zeros(int(seconds * 16000), np.float32), 16000)
    source = SimpleNamespace(source=str(path))
    return SimpleNamespace(id=name, duration=seconds, recording=SimpleNamespace(sources=[source]))


@pytest.fixture
def cuts(tmp_path: Path) -> list[Any]:
    return [cut(tmp_path, "a", 1.0), cut(tmp_path, "b", 2.01), cut(tmp_path, "long", 29.5)]


@pytest.fixture
def cached(tmp_path: Path, cuts: list[Any]) -> Path:
    (tmp_path / "teacher").mkdir()
    measure(
        Ramp(), [c.recording.sources[0].source for c in cuts[:2]], tmp_path / "teacher" / "statistics.json", "a ramp"
    )
    cache_states(Ramp(), cuts, tmp_path / "teacher" / "statistics.json", tmp_path / "teacher" / "tones.i8")
    return tmp_path


def test_states_come_back_normalised(cached: Path) -> None:
    store = StateStore.open(cached, ["tones", "not-asked"])
    states = store.get("b")
    assert states is not None
    assert states.shape == (51, 2)
    assert store.dim == 2
    assert store.about == "a ramp"
    values = np.concatenate([np.arange(25), np.arange(51)])
    expected = (np.arange(51) - values.mean()) / values.std()
    assert np.abs(states[:, 0] - expected).max() <= 0.51 / STEPS
    assert np.abs(states[:, 1] + expected).max() <= 0.51 / STEPS
    assert store.get("long") is None
    assert store.get("unknown") is None


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_faster_copy_has_the_states_of_its_moments(cached: Path, speed: float) -> None:
    store = StateStore.open(cached, ["tones"])
    whole, states = store.get("b"), store.get("b", speed)
    assert whole is not None
    assert states is not None
    assert len(states) == -(-51 // speed)
    rate = (states[1:-2, 0] - states[:-3, 0]).mean() / (whole[1:, 0] - whole[:-1, 0]).mean()
    assert abs(rate - speed) < 0.01


def test_an_interrupted_corpus_is_begun_again(tmp_path: Path, cuts: list[Any], cached: Path) -> None:
    statistics, path = cached / "teacher" / "statistics.json", cached / "teacher" / "other.i8"
    with pytest.raises(KeyboardInterrupt):
        cache_states(Stopped(), cuts, statistics, path)
    assert not path.exists()
    cache_states(Ramp(), cuts, statistics, path)
    before = os.stat(path).st_mtime_ns
    cache_states(Stopped(), cuts, statistics, path)  # finished: not touched
    assert os.stat(path).st_mtime_ns == before


def test_added_or_changed_recordings_are_asked_about_again(tmp_path: Path, cuts: list[Any], cached: Path) -> None:
    statistics, path = cached / "teacher" / "statistics.json", cached / "teacher" / "tones.i8"
    cache_states(Ramp(), [*cuts, cut(tmp_path, "c", 1.0)], statistics, path)
    store = StateStore.open(cached, ["tones"])
    assert store.get("c") is not None
    cache_states(Ramp(), [cut(tmp_path, "a", 2.0), *cuts[1:]], statistics, path)
    states = StateStore.open(cached, ["tones"]).get("a")
    assert states is not None
    assert len(states) == 50
    # An older index does not say what it was made of: the ids alone are compared.
    head = json.loads(path.with_name(path.name + ".json").read_text())
    del head["source"]
    path.with_name(path.name + ".json").write_text(json.dumps(head))
    cache_states(Stopped(), [cut(tmp_path, "a", 1.0), *cuts[1:]], statistics, path)


def test_another_teacher_is_refused(cuts: list[Any], cached: Path) -> None:
    path, audio = cached / "teacher" / "other.json", [cuts[0].recording.sources[0].source]
    measure(Ramp(), audio, path, "a ramp", "ramp")
    measure(Stopped(), audio, path, "the same ramp", "ramp")  # finished: not asked
    before = path.read_bytes()
    with pytest.raises(DataError, match="states of the teacher 'ramp', not of 'level': remove it first"):
        measure(Ramp(), audio, path, "a level", "level")
    assert path.read_bytes() == before
    measure(Stopped(), audio, cached / "teacher" / "statistics.json", "a level", "level")  # older: says no name


def test_an_id_stands_for_one_recording_over_all_corpora(tmp_path: Path, cuts: list[Any], cached: Path) -> None:
    statistics = cached / "teacher" / "statistics.json"
    cache_states(Ramp(), cuts[:1], statistics, cached / "teacher" / "same.i8")
    StateStore.open(cached, ["tones", "same"])
    cache_states(Ramp(), [cut(tmp_path, "a", 3.0)], statistics, cached / "teacher" / "other.i8")
    with pytest.raises(DataError, match=r"other\.i8.* different audio under the id 'a'"):
        StateStore.open(cached, ["tones", "other"])


def test_what_is_not_there_or_cut_off_is_said(cached: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"teach\.py"):
        StateStore.open(tmp_path / "nowhere", ["tones"])
    path = cached / "teacher" / "tones.i8"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="does not fit"):
        StateStore.open(cached, ["tones"])
    (cached / "teacher" / "tones.i8.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        StateStore.open(cached, ["tones"])


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", None)
    with pytest.raises(MissingExtraError, match=r"edge-asr\[teacher\]"):
        WhisperTeacher("tiny.en")


@pytest.mark.skipif("EDGE_ASR_TEST_TEACHER" not in os.environ, reason="EDGE_ASR_TEST_TEACHER: a Whisper model's folder")
def test_whisper_states_follow_the_audio() -> None:
    teacher = WhisperTeacher(os.environ["EDGE_ASR_TEST_TEACHER"])
    pcm, rate = sf.read(next(Path("samples").glob("*.flac")), dtype="float32")
    assert rate == 16000
    states = teacher.states(pcm[: 16000 * 5])
    later = teacher.states(np.concatenate([np.zeros(640 * 10, np.float32), pcm[: 16000 * 5]]))
    assert states.shape[0] == 125
    # Ten frames of silence before it move the states by ten frames.
    distance = [float(np.square(states[20:80] - later[20 + k : 80 + k]).mean()) for k in range(20)]
    assert int(np.argmin(distance)) == 10

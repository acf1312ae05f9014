"""The recogniser: files and arrays, options, and each way in which loading and recognising can go wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asr import Recognizer
from edge_asr.audio.reader import read_audio
from edge_asr.bundle import models
from edge_asr.errors import (
    AudioError,
    AudioNotFoundError,
    BundleError,
    EdgeAsrError,
    OptionError,
    UnknownModelError,
)
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.threshold import ThresholdPolicy
from tests.fake_bundle import Sizes, write_fake_bundle, write_policy
from tests.runtime.helpers import noise


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate", "ending"), [(16_000, "wav"), (44_100, "flac"), (8_000, "wav"), (48_000, "ogg")])
@pytest.mark.parametrize("chunk", [640, "full"])
def test_a_file_gives_what_its_samples_give(
    recognizer: Recognizer, tmp_path: Path, rate: int, ending: str, channels: int, chunk: int | str
) -> None:
    file = tmp_path / f"noise.{ending}"
    soundfile.write(file, noise(rate * 3 * channels).reshape(-1, channels), rate)
    from_file = recognizer.transcribe(str(file), chunk=chunk)
    samples, _ = soundfile.read(file, dtype="float32", always_2d=True)
    from_array = recognizer.transcribe(samples, sample_rate=rate, chunk=chunk)
    at_16k = recognizer.transcribe(read_audio(file), chunk=chunk)
    assert from_file.chunks == from_array.chunks
    assert from_file.text == from_array.text == at_16k.text
    assert from_file.duration == pytest.approx(3.0, abs=0.1)
    assert from_file.rtf == pytest.approx(from_file.seconds / from_file.duration)
    assert from_file.seconds > 0


def test_sample_recordings(recognizer: Recognizer, repository: Path) -> None:
    files = sorted((repository / "samples").glob("*.flac"))
    for file in files:
        transcript = recognizer.transcribe(file)
        assert transcript.duration == pytest.approx(soundfile.info(file).duration)
        assert transcript.chunks[-1].end == pytest.approx(transcript.duration)


def test_text_is_lower_case_unless_a_formatter_says_otherwise(recognizer: Recognizer) -> None:
    pcm = noise(16_000 * 3)
    text = recognizer.transcribe(pcm).text
    assert text
    assert text == text.lower()
    assert recognizer.transcribe(pcm, formatter=lambda words: f"«{words}»").text == f"«{text.upper()}»"


@pytest.mark.parametrize("exit", [1, 2, 3, "2"])
def test_a_fixed_exit(recognizer: Recognizer, exit: int | str) -> None:
    transcript = recognizer.transcribe(noise(16_000 * 2), exit=exit)
    assert {chunk.exit for chunk in transcript.chunks} == {int(exit)}
    assert transcript.mean_exit == int(exit)


def test_auto_takes_the_bundles_thresholds(tmp_path: Path) -> None:
    path = write_fake_bundle(tmp_path / "fake", policy=False)
    pcm = noise(16_000 * 4)
    exits = {}
    for criterion, threshold in (
        ("frame_entropy", 9.0),
        ("frame_entropy", 0.0),
        ("max_posterior", 0.0),
        ("margin", 1.1),
    ):
        write_policy(path, ["640"], criterion=criterion, threshold=threshold)
        exits[criterion, threshold] = recognizer_exits(path, pcm)
    assert exits["frame_entropy", 9.0] == exits["max_posterior", 0.0] == {1}
    assert exits["frame_entropy", 0.0] == exits["margin", 1.1] == {3}


def recognizer_exits(path: Path, pcm: Any) -> set[int]:
    return {chunk.exit for chunk in Recognizer.load(path).transcribe(pcm).chunks}


def test_chunk_and_exit_names(recognizer: Recognizer) -> None:
    assert [recognizer.chunk_frames(chunk) for chunk in (320, "640", 1280, "full")] == [8, 16, 32, None]
    assert isinstance(recognizer.policy(), ThresholdPolicy)
    assert recognizer.policy(2, "full") == FixedPolicy(2)


@pytest.mark.parametrize("chunk", [0, 16, 641, 640.0, "fast", "", None, -640, True])
def test_a_chunk_that_is_not_allowed(recognizer: Recognizer, chunk: Any) -> None:
    with pytest.raises(OptionError, match=r"chunk=.*: bundle 'fake' allows 320, 640, 1280, full"):
        recognizer.transcribe(noise(100), chunk=chunk)


@pytest.mark.parametrize("exit", [0, 4, -1, "7", "last", 2.0, None, True, "²"])
def test_an_exit_out_of_range(recognizer: Recognizer, exit: Any) -> None:
    with pytest.raises(OptionError, match=r"exit=.*: bundle 'fake' has exits 1 to 3, or 'auto'"):
        recognizer.transcribe(noise(100), exit=exit)


def test_auto_without_thresholds(tmp_path: Path) -> None:
    path = write_fake_bundle(tmp_path / "fake", policy=False)
    with pytest.raises(OptionError, match=r"has no policy\.json with thresholds; .*exit=1 to 3"):
        Recognizer.load(path).transcribe(noise(100))
    assert Recognizer.load(path).transcribe(noise(100), exit=3).mean_exit == 3
    write_policy(path, ["320", "full"])
    with pytest.raises(OptionError, match="has thresholds for chunk 320, full, not 640"):
        Recognizer.load(path).transcribe(noise(100))
    with pytest.raises(OptionError, match="has thresholds for precision int8, not float32"):
        Recognizer.load(path, precision="float32").transcribe(noise(100), chunk=320)


def test_a_model_with_a_single_exit_needs_no_thresholds(tmp_path: Path) -> None:
    path = write_fake_bundle(tmp_path / "one", Sizes(exits=1), policy=False)
    assert Recognizer.load(path).transcribe(noise(16_000)).mean_exit == 1


def test_precision_and_threads(fake_path: Path) -> None:
    pcm = noise(16_000 * 2)
    one = Recognizer.load(fake_path, precision="float32").transcribe(pcm, exit=3)
    two = Recognizer.load(fake_path, precision="float32", threads=2).transcribe(pcm, exit=3)
    assert one.text == two.text
    assert one.text != Recognizer.load(fake_path).transcribe(pcm, exit=3).text
    with pytest.raises(OptionError, match="precision='int4': bundle 'fake' has int8, float32"):
        Recognizer.load(fake_path, precision="int4")
    with pytest.raises(OptionError, match="threads=0"):
        Recognizer.load(fake_path, threads=0)


def test_models_by_name(fake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.VARIABLE, str(fake_path.parent))
    assert Recognizer.load("fake").bundle.path == fake_path
    with pytest.raises(UnknownModelError, match=r"model 'fakee' .*known models: .*fake"):
        Recognizer.load("fakee")


@pytest.mark.parametrize("size", [0, 1])
def test_empty_arrays(recognizer: Recognizer, size: int) -> None:
    if size == 0:
        for empty in (np.zeros(0), np.zeros((0, 2), dtype=np.int16)):
            with pytest.raises(AudioError, match="empty"):
                recognizer.transcribe(empty)
    else:
        assert recognizer.transcribe(np.zeros(1)).text is not None


def test_bad_audio(recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("words")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioNotFoundError, match=r"missing\.wav"):
        recognizer.transcribe(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match=r"text\.wav"):
        recognizer.transcribe(tmp_path / "text.wav")
    for name in ("empty.wav", "none.wav"):
        with pytest.raises(AudioError, match=f"{name}.*empty"):
            recognizer.transcribe(tmp_path / name)
    with pytest.raises(AudioError, match="NaN"):
        recognizer.transcribe(np.array([0.0, np.nan]))
    with pytest.raises(AudioError, match="sample_rate=0"):
        recognizer.transcribe(noise(100), sample_rate=0)
    with pytest.raises(AudioError, match="type int64"):
        recognizer.transcribe(np.array([1, 2, 3]))


def test_a_policy_with_an_unknown_criterion(tmp_path: Path) -> None:
    path = write_fake_bundle(tmp_path / "fake")
    write_policy(path, ["640"], criterion="luck")
    with pytest.raises(BundleError, match=r"policy\.json: field 'criterion': is 'luck', expected one of frame_entropy"):
        Recognizer.load(path)


def test_a_token_table_that_does_not_fit(tmp_path: Path) -> None:
    path = write_fake_bundle(tmp_path / "fake")
    data = json.loads((path / "bundle.json").read_text())
    data["tokens"]["size"] = 7
    (path / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"tokens\.txt: has 6 lines, expected tokens\.size, 7"):
        Recognizer.load(path)


@pytest.mark.parametrize("name", ["frontend.onnx", "tokens.txt", "int8/segment1.onnx", "bundle.json", "policy.json"])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_any_file_cut_off_is_a_bundle_error_that_names_it(
    fake_path: Path, tmp_path: Path, name: str, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copytree(fake_path, tmp_path / "cut"))
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(BundleError) as caught:
        Recognizer.load(path)
    assert caught.value.file == str(path / name)
    assert isinstance(caught.value, EdgeAsrError)
    assert capfd.readouterr() == ("", "")

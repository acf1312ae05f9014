"""Reading files: formats, rates and channels; and files that can't be read."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_asr.audio.reader import AudioReader, read_audio
from edge_asr.errors import AudioError, AudioNotFoundError


def tone(rate: int, seconds: float = 0.5, channels: int = 1) -> np.ndarray:
    wave = 0.4 * np.sin(2 * np.pi * 300 * np.arange(int(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("ending", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "FLOAT"),
        ("wav", "PCM_U8"),
        ("wav", "ULAW"),
        ("flac", "PCM_16"),
    ],
)
def test_any_format_rate_and_channel_count(tmp_path: Path, ending: str, subtype: str, rate: int, channels: int) -> None:
    file = tmp_path / f"tone.{ending}"
    soundfile.write(file, tone(rate, channels=channels), rate, subtype=subtype)
    audio = read_audio(file)
    assert audio.dtype == np.float32
    assert abs(len(audio) - 8_000) <= 1
    np.testing.assert_allclose(audio[800:7_000], tone(16_000)[800:7_000, 0], atol=0.03)


@pytest.mark.parametrize(("ending", "rate"), [("ogg", 16_000), ("opus", 48_000), ("mp3", 22_050), ("aiff", 16_000)])
def test_compressed_formats(tmp_path: Path, ending: str, rate: int) -> None:
    file = tmp_path / f"tone.{ending}"
    options = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    soundfile.write(file, tone(rate), rate, **options)
    audio = read_audio(str(file))
    assert abs(len(audio) / 16_000 - 0.5) < 0.2  # codecs may pad
    assert 0.2 < np.abs(audio).max() < 0.6


def test_blocks_are_bounded_and_complete(tmp_path: Path) -> None:
    file = tmp_path / "tone.wav"
    soundfile.write(file, tone(10_000, 1.05), 10_000, subtype="FLOAT")
    with AudioReader(file) as reader:
        assert (reader.sample_rate, reader.channels) == (10_000, 1)
        blocks = list(reader.blocks(0.25))
    assert [len(block) for block in blocks] == [2_500, 2_500, 2_500, 2_500, 500]
    np.testing.assert_allclose(np.concatenate(blocks), tone(10_000, 1.05)[:, 0], atol=1e-7)


def test_reading_holds_one_block_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "long.flac"
    with soundfile.SoundFile(file, "w", 16_000, 1) as target:
        for _ in range(180):
            target.write(np.random.default_rng(0).uniform(-0.1, 0.1, 16_000))
    tracemalloc.start()
    try:
        with AudioReader(file) as reader:
            samples = sum(len(block) for block in reader.blocks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 180 * 16_000
    assert peak < 8 * 16_000 * 4  # a few blocks of a second; the file is 180


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError, match=r"none\.wav' doesn't exist"):
        AudioReader(tmp_path / "none.wav")
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "none.wav")


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.wav"), "naïve \u200b.wav"])
def test_any_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    try:
        file.touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    soundfile.write(os.fsencode(file), tone(16_000), 16_000, format="WAV")
    assert len(read_audio(file)) == 8_000


@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "a\0b.wav"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(AudioError, match="can't be opened"):
        AudioReader(name)


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="isn't a file"):
        AudioReader(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.wav", b"These are words, not sound.", "isn't an audio file"),
        ("nothing.wav", b"", "is empty: it has 0 bytes"),
        ("raw.raw", b"\0\1\2\3", "isn't an audio file"),
        ("header.wav", b"RIFF\x24\0\0\0WAVEfmt ", "isn't an audio file"),
        ("cut.flac", b"fLaC\0\0\0\x22", "isn't an audio file|is empty"),
    ],
)
def test_files_that_are_not_audio(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(tmp_path / name)
    assert name in str(caught.value)


def test_file_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="is empty: it holds no sample"):
        read_audio(tmp_path / "none.wav")


def test_file_with_nan(tmp_path: Path) -> None:
    pcm = tone(16_000)
    pcm[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", pcm, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav.*NaN or infinity"):
        read_audio(tmp_path / "nan.wav")


def test_file_with_an_impossible_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", tone(16_000), 10)
    with pytest.raises(AudioError, match=r"slow\.wav.*sample_rate=10"):
        read_audio(tmp_path / "slow.wav")


def test_a_cut_off_flac_is_damaged(tmp_path: Path) -> None:
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[:20_000])
    with pytest.raises(AudioError, match=r"cut\.flac' is damaged"):
        read_audio(cut)


def test_a_cut_off_wav_gives_what_is_there(tmp_path: Path) -> None:
    whole = tmp_path / "whole.wav"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:20_001])
    assert len(read_audio(cut)) == (20_001 - 44) // 2

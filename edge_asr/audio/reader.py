"""Audio files, read block by block, so that memory doesn't grow with the length; any format of libsndfile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from edge_asr.audio.pcm import Mono, to_mono
from edge_asr.audio.resampler import Resampler, check_rate
from edge_asr.errors import AudioError, AudioNotFoundError


class AudioReader:
    """An open audio file.

    Args:
        path: A WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF … file.

    Attributes:
        path: The file.
        sample_rate: Its rate in Hz.
        channels: Its channel count.

    Raises:
        AudioNotFoundError: If there is no such file.
        AudioError: If it is empty or isn't audio.

    Example:
        >>> with AudioReader("talk.flac") as reader:  # doctest: +SKIP
        ...     for block in reader.blocks():
        ...         stream.feed(block)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        try:
            check_rate(self.sample_rate)
        except AudioError as error:
            self._file.close()
            raise AudioError(f"audio file {str(self.path)!r}: {error}") from error

    def blocks(self, seconds: float = 1.0) -> Iterator[Mono]:
        """Gives the samples as mono float32 blocks (N,) of at most ``seconds``, at the file's own rate.

        Raises:
            AudioError: If the file holds no sample, is damaged, or holds NaN or infinity.
        """
        size = max(1, int(seconds * self.sample_rate))
        empty = True
        while True:
            try:
                block = self._file.read(size, dtype="float32", always_2d=True)
                if not len(block):
                    break
                mono = to_mono(block)
            except soundfile.SoundFileError as error:
                raise AudioError(f"audio file {str(self.path)!r} is damaged: {error}") from error
            except AudioError as error:
                raise AudioError(f"audio file {str(self.path)!r}: {error}") from error
            empty = False
            yield mono
        if empty:
            raise AudioError(f"audio file {str(self.path)!r} is empty: it holds no sample")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_audio(path: str | Path, sample_rate: int = 16_000) -> Mono:
    """Reads a whole file as mono float32 at a wanted rate; for recordings that fit in memory.

    Args:
        path: The file.
        sample_rate: Wanted rate in Hz.

    Returns:
        (N,) float32 in [-1, 1].

    Raises:
        AudioNotFoundError: If there is no such file.
        AudioError: If it is empty, damaged or isn't audio.
    """
    with AudioReader(path) as reader:
        resampler = Resampler(reader.sample_rate, sample_rate)
        blocks = [resampler.push(block) for block in reader.blocks()]
    return np.concatenate([*blocks, resampler.finish()])


def _open(path: Path) -> soundfile.SoundFile:
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise AudioNotFoundError(f"audio file {str(path)!r} doesn't exist") from None
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte in it
        raise AudioError(f"audio file {str(path)!r} can't be opened: {error}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise AudioError(f"{str(path)!r} isn't a file")
    if facts.st_size == 0:
        raise AudioError(f"audio file {str(path)!r} is empty: it has 0 bytes")
    try:
        return soundfile.SoundFile(_name(path))
    except (soundfile.SoundFileError, TypeError, OSError) as error:  # TypeError: headerless .raw
        raise AudioError(f"{str(path)!r} isn't an audio file that can be read: {error}") from error


def _name(path: Path) -> Path | bytes:
    """What libsndfile is given: names that aren't UTF-8 as they are."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path

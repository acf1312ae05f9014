"""Decoders in streams: words with times and exits, n-best, endpoints, phrases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_asr import Recognizer
from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.decoding.hotwords import Hotword
from edge_asr.errors import OptionError
from tests.runtime.helpers import noise


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("seconds", [0.5, 5.0, 45.0])  # the last is cut into pieces in full mode
@pytest.mark.parametrize("chunk", [640, "full"])
def test_words_are_the_text_with_times(recognizer: Recognizer, decoder: str, seconds: float, chunk: int | str) -> None:
    transcript = recognizer.transcribe(noise(int(16_000 * seconds)), decoder=decoder, chunk=chunk, exit=2, nbest=4)
    assert " ".join(word.word for word in transcript.words) == transcript.text
    assert 1 <= len(transcript.alternatives) <= (1 if decoder == "greedy" else 4)
    assert transcript.alternatives[0].text == transcript.text
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    assert all(0.0 <= word.start <= word.end <= seconds for word in transcript.words)
    assert all(0.0 <= word.confidence <= 1.0 and word.exit == 2 for word in transcript.words)
    assert [token.time for token in transcript.tokens][:1] == pytest.approx(starts[:1], abs=0.04)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_cuts_of_the_audio_change_nothing(recognizer: Recognizer, decoder: str) -> None:
    pcm = noise(16_000 * 4)
    whole = recognizer.transcribe(pcm, decoder=decoder, nbest=3)
    stream = recognizer.stream(decoder=decoder, nbest=3)
    for part in np.array_split(pcm, 37):
        stream.feed(part)
        assert stream.partial.startswith(stream.stable)
    parts = stream.finish()
    assert (parts.text, parts.words, parts.alternatives) == (whole.text, whole.words, whole.alternatives)


def test_endpoints(recognizer: Recognizer) -> None:
    never = recognizer.stream(endpoint=EndpointConfig(np.inf, np.inf, np.inf))
    soon = recognizer.stream(endpoint=EndpointConfig(longest=1.0))
    assert not soon.endpoint
    for stream in (never, soon):
        stream.feed(noise(16_000 * 3))
    assert soon.endpoint
    assert not never.endpoint


@pytest.mark.parametrize("nbest", [0, -1, 1.5, "2", None, True])
def test_nbest_out_of_range(recognizer: Recognizer, nbest: Any) -> None:
    with pytest.raises(OptionError, match=r"nbest=.*: expected 1 or more"):
        recognizer.stream(nbest=nbest)


def test_options_that_do_not_fit(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="hotwords need a search"):
        recognizer.stream(hotwords=["a"])
    with pytest.raises(OptionError, match="decoder='lm': needs a language model"):
        recognizer.stream(decoder="lm")
    with pytest.raises(OptionError, match="decoder='best': expected one of greedy, beam, lm"):
        recognizer.stream(decoder="best")
    recognizer.stream(decoder="beam", hotwords=["a", Hotword("a b", 2.0)])

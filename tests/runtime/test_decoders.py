"""Decoders in streams: words with times and exits, n-best, endpoints, phrases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_asr import Recognizer
from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.decoding.hotwords import Hotword
from edge_asr.errors import BundleError, OptionError
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.runtime.budget import Budget
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
    with pytest.raises(OptionError, match=r"hotwords='ab': expected a sequence of phrases, like \['ab'\]"):
        recognizer.stream(decoder="beam", hotwords="ab")
    for name in ("greedy", "beam"):
        with pytest.raises(OptionError, match=f"lm='en.lm': decoder='{name}' uses no language model; 'lm' does"):
            recognizer.decoder(name, lm="en.lm")
    with pytest.raises(OptionError, match="config: decoder='greedy' is no search"):
        recognizer.decoder("greedy", config=BeamConfig())
    recognizer.stream(decoder="beam", hotwords=["a", Hotword("a b", 2.0)])


def test_exits_are_left_where_the_decoders_own_thresholds_say(fake_model_copy: Path) -> None:
    """Frame entropy below 0 never leaves early, and everything is below 100."""
    file = fake_model_copy / "policy.json"
    policy = json.loads(file.read_text()) | {"version": 2, "thresholds": {"640": [-1.0, -1.0], "full": [100.0, 100.0]}}
    part = {"criterion": "frame_entropy", "thresholds": {"640": [100.0, 100.0]}, "levels": {"640": [[200.0, 200.0]]}}
    reference = [{"edges": [], "shares": [1.0], "stop": 0.0}] * 2
    policy["decoders"] = {"beam": part | {"reference": {"640": reference}}}
    file.write_text(json.dumps(policy))
    recognizer = Recognizer.load(fake_model_copy)
    pcm = noise(16_000 * 4)
    left = {name: {c.exit for c in recognizer.transcribe(pcm, decoder=name).chunks} for name in ("greedy", "beam")}
    assert left == {"greedy": {3}, "beam": {1}}
    assert {c.exit for c in recognizer.transcribe(pcm, decoder=recognizer.decoder("beam")).chunks} == {1}
    assert {c.exit for c in recognizer.transcribe(pcm, decoder="beam", chunk="full").chunks} == {1}  # as for others
    policy["thresholds"]["full"], policy["decoders"]["beam"]["thresholds"]["full"] = [-1.0, -1.0], [100.0, 100.0]
    file.write_text(json.dumps(policy))
    twice = Recognizer.load(fake_model_copy).transcribe(pcm, decoder="beam", second_pass=True)
    assert {(c.exit, c.final_exit) for c in twice.chunks} == {(1, 3)}  # the last text goes by the stricter thresholds
    assert recognizer.monitor is not None
    assert set(recognizer.monitor.snapshot()["criterion"]) == {"beam/640"}
    recognizer.transcribe(pcm, decoder="greedy", exit=2)  # the depth isn't calibration's, so drift isn't looked for
    assert set(recognizer.monitor.snapshot()["criterion"]) == {"beam/640"}
    assert recognizer.policy() == recognizer.policy("auto", 640, "greedy") != recognizer.policy("auto", 640, "beam")
    cheaper = [
        recognizer.controller(Budget(rtf=0.5), recognizer.policy("auto", 640, name))._levels[1]
        for name in ("beam", "greedy")
    ]
    assert [isinstance(policy, ThresholdPolicy) for policy in cheaper] == [True, False]  # without levels: less depth


def test_a_wrong_criterion_of_a_decoder(fake_model_copy: Path) -> None:
    file = fake_model_copy / "policy.json"
    policy = json.loads(file.read_text()) | {"version": 2}
    policy["decoders"] = {"lm": {"criterion": "surety", "thresholds": {"640": [1.0, 1.0]}}}
    file.write_text(json.dumps(policy))
    with pytest.raises(BundleError, match="'surety', expected one of"):
        Recognizer.load(fake_model_copy)

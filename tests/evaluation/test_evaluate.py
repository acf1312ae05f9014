"""Recording and evaluating with a runtime: what the gathers say is what the runtime does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.errors import AudioError, BundleError, DataError, OptionError
from edge_asr.evaluation.calibration import calibrate, policy_document, write_policy
from edge_asr.evaluation.chunk_table import ChunkTable
from edge_asr.evaluation.dataset import Utterance, load_dataset
from edge_asr.evaluation.evaluate import evaluate, exit_costs
from edge_asr.evaluation.goal import Goal
from edge_asr.evaluation.recording import Recording, record
from edge_asr.evaluation.wer import ErrorCount, char_errors, word_errors
from edge_asr.exits.criterion import get_criterion
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView
from edge_asr.runtime.recognizer import Recognizer

CHUNKS: list[int | str] = [320, 640, 1280, "full"]


@pytest.fixture(scope="module")
def recognizer(fake_model: Path) -> Recognizer:
    return Recognizer.load(fake_model)


@pytest.fixture(scope="module")
def utterances(samples: Path) -> list[Utterance]:
    return load_dataset(samples / "manifest.jsonl")


@pytest.fixture(scope="module")
def long_utterance(tmp_path_factory: pytest.TempPathFactory) -> Utterance:
    """75 s of noise and silence at another rate, so that it is resampled and cut into pieces."""
    random = np.random.default_rng(0)
    loud, silence = random.uniform(-0.5, 0.5, 11_000 * 21), np.zeros(11_000 * 4)
    path = tmp_path_factory.mktemp("audio") / "long.wav"
    soundfile.write(path, np.concatenate([loud, silence] * 3), 11_000)
    return Utterance("long", path, "A B")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_gathers_are_what_the_runtime_says(
    recognizer: Recognizer, utterances: list[Utterance], long_utterance: Utterance, chunk: int | str
) -> None:
    spec = recognizer.bundle.spec
    for utterance in [utterances[0], long_utterance]:
        recording = record(recognizer, utterance, chunk)
        for exit in range(1, spec.encoder.exits + 1):
            transcript = recognizer.transcribe(utterance.audio, chunk=chunk, exit=exit)
            assert recording.text(exit, recognizer.tokens).lower() == transcript.text
        auto = recognizer.transcribe(utterance.audio, chunk=chunk)
        taken = recording.leave(recognizer.policy("auto", chunk))
        assert taken == tuple(part.exit for part in auto.chunks)
        assert recording.text(taken, recognizer.tokens).lower() == auto.text
        assert recording.seconds == auto.duration
        assert len(set(taken)) > 1 or chunk == "full"  # the fake model's thresholds are between its exits


def test_long_audio_is_recorded_in_pieces(recognizer: Recognizer, long_utterance: Utterance) -> None:
    recording = record(recognizer, long_utterance)
    begins = [part for part in recording.chunks if part.info.index == 0]
    assert [part.piece for part in begins] == list(range(len(begins)))
    assert len(begins) >= 3
    assert all(part.info.first_frame == 0 for part in begins)


class Drawn:
    """A policy that stops wherever it was told to, by piece and chunk."""

    def __init__(self, exits: list[int]) -> None:
        self.exits = exits

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        return view.exit >= self.exits[chunk.index % len(self.exits)]


@settings(max_examples=20)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_any_policy_is_a_gather(recognizer: Recognizer, samples: Path, exits: list[int]) -> None:
    audio, rate = soundfile.read(samples / "commonvoice-40269020.flac", dtype="float32")
    policy = Drawn(exits)
    recording = _recorded(recognizer, samples)
    stream = recognizer.stream(sample_rate=rate, policy=policy)
    stream.feed(audio)
    transcript = stream.finish()
    taken = recording.leave(policy)
    assert taken == tuple(part.exit for part in transcript.chunks)
    assert recording.text(taken, recognizer.tokens).lower() == transcript.text


def _recorded(recognizer: Recognizer, samples: Path) -> Recording:
    return record(recognizer, Utterance("a", samples / "commonvoice-40269020.flac", ""))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_evaluation_is_the_sum_of_transcripts(
    recognizer: Recognizer, utterances: list[Utterance], chunk: int | str
) -> None:
    ticks: list[int] = []
    result = evaluate(recognizer, utterances, chunk=chunk, tick=lambda: ticks.append(1))
    assert len(ticks) == result.utterances == len(utterances) == 5
    assert result.words == sum(len(u.text.split()) for u in utterances)
    assert result.duration == pytest.approx(sum(u.duration or 0 for u in utterances), abs=0.01)
    assert result.chunk_ms == chunk
    for found in result.exits:
        texts = [recognizer.transcribe(u.audio, chunk=chunk, exit=found.exit).text for u in utterances]
        pairs = [(u.text, text) for u, text in zip(utterances, texts, strict=True)]
        assert found.wer == sum((word_errors(*pair) for pair in pairs), ErrorCount()).rate
        assert found.cer == sum((char_errors(*pair) for pair in pairs), ErrorCount()).rate
        assert found.params == recognizer.bundle.spec.exits[found.exit - 1].params
        assert found.macs_per_second == recognizer.bundle.spec.exits[found.exit - 1].macs_per_second[str(chunk)]


def test_auto_is_the_sum_of_transcripts(recognizer: Recognizer, utterances: list[Utterance]) -> None:
    result = evaluate(recognizer, utterances)
    auto = result.auto
    assert auto is not None
    transcripts = [recognizer.transcribe(u.audio) for u in utterances]
    parts = [part for transcript in transcripts for part in transcript.chunks]
    frames = sum(part.frames for part in parts)
    counts = {str(exit): sum(part.exit == exit for part in parts) for exit in (1, 2, 3)}
    errors = [word_errors(u.text, t.text) for u, t in zip(utterances, transcripts, strict=True)]
    assert auto.criterion == "frame_entropy"
    assert auto.wer == sum(errors, ErrorCount()).rate
    assert auto.exit_histogram == counts
    assert auto.mean_exit == pytest.approx(sum(part.exit * part.frames for part in parts) / frames)
    costs = exit_costs(recognizer.bundle, 640)
    assert auto.mean_macs_per_second == pytest.approx(sum(costs[p.exit - 1] * p.frames for p in parts) / frames)
    assert costs[0] < auto.mean_macs_per_second < costs[-1]


def test_json_has_the_keys_that_others_read(recognizer: Recognizer, utterances: list[Utterance]) -> None:
    result = json.loads(json.dumps(evaluate(recognizer, utterances[:1]).as_json()))
    assert {"utterances", "words", "chunk_ms", "exits", "auto"} <= set(result)
    assert [set(exit) for exit in result["exits"]] == [{"exit", "wer", "cer", "params", "macs_per_second"}] * 3
    assert set(result["auto"]) == {"criterion", "wer", "mean_exit", "mean_macs_per_second", "exit_histogram"}


def test_without_thresholds_there_is_no_auto(fake_model_copy: Path, utterances: list[Utterance]) -> None:
    (fake_model_copy / "policy.json").unlink()
    result = evaluate(Recognizer.load(fake_model_copy), utterances[:1])
    assert result.auto is None
    assert len(result.exits) == 3


def test_thresholds_of_another_precision_are_not_used(fake_model: Path, utterances: list[Utterance]) -> None:
    assert evaluate(Recognizer.load(fake_model, precision="float32"), utterances[:1]).auto is None


def test_what_evaluation_refuses(recognizer: Recognizer, fake_model_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no utterances"):
        evaluate(recognizer, [])
    (tmp_path / "a.wav").touch()
    broken = Utterance("a", tmp_path / "a.wav", "A")
    with pytest.raises(AudioError, match=r"a\.wav"):
        evaluate(recognizer, [broken])
    with pytest.raises(OptionError, match="chunk=100"):
        evaluate(recognizer, [broken], chunk=100)
    document = json.loads((fake_model_copy / "bundle.json").read_text())
    del document["exits"][1]["macs_per_second"]["640"]
    (fake_model_copy / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"bundle\.json.*exits\[1\]\.macs_per_second.*'640'"):
        evaluate(Recognizer.load(fake_model_copy), [broken])


def test_calibrated_thresholds_keep_their_promise(
    recognizer: Recognizer, fake_model_copy: Path, utterances: list[Utterance]
) -> None:
    """What calibration says of its choice is what an evaluation with the written policy finds."""
    chosen = {}
    for chunk in CHUNKS:
        recordings = [record(recognizer, utterance, chunk) for utterance in utterances]
        costs = exit_costs(recognizer.bundle, chunk)
        criterion = get_criterion("max_posterior")
        table = ChunkTable(recordings, costs, recognizer.tokens)
        chosen[str(chunk)] = calibrate(table, criterion, Goal(max_loss=0.1), temperature_scaling=True)
    document = policy_document(recognizer.bundle, "int8", {"greedy": chosen}, {"utterances": 5})
    write_policy(fake_model_copy / "policy.json", document)
    calibrated = Recognizer.load(fake_model_copy)
    for chunk in CHUNKS:
        found, expected = evaluate(calibrated, utterances, chunk=chunk), chosen[str(chunk)]
        assert found.exits[-1].wer == expected.full_depth.wer
        assert found.auto is not None
        assert found.auto.criterion == "max_posterior"
        assert found.auto.wer == expected.chosen.wer <= found.exits[-1].wer * 1.1
        assert found.auto.mean_macs_per_second == pytest.approx(expected.chosen.mean_cost)


def test_a_stale_policy_does_not_stand_in_the_way_of_calibration(fake_model_copy: Path) -> None:
    policy = fake_model_copy / "policy.json"
    stale = policy.read_text().replace('"graphs": "', '"graphs": "0')
    policy.write_text(stale)
    with pytest.raises(BundleError, match="calibrate again"):
        Recognizer.load(fake_model_copy)
    assert Recognizer.load(fake_model_copy, use_policy=False).bundle.policy is None
    assert policy.read_text() == stale


def test_a_second_pass_gives_final_texts_and_costs_both(utterances: list[Utterance]) -> None:
    recognizer, utterances = Recognizer.load("en-tiny"), utterances[:3]
    result, whole = evaluate(recognizer, utterances, second_pass=True), exit_costs(recognizer.bundle, "full")
    final, costs = result.second_pass, exit_costs(recognizer.bundle, 640)
    assert final is not None
    errors, spent, frames, better, worse = ErrorCount(), 0.0, 0, 0, 0
    for utterance in utterances:
        once = recognizer.transcribe(utterance.audio, decoder="greedy")
        twice = recognizer.transcribe(utterance.audio, decoder="greedy", second_pass=True)
        before, after = (word_errors(utterance.text, t.text) for t in (once, twice))
        errors += after
        better, worse = better + (after.errors < before.errors), worse + (after.errors > before.errors)
        assert [part.exit for part in once.chunks] == [part.exit for part in twice.chunks]
        for part in twice.chunks:
            frames += part.frames
            spent += part.frames * costs[part.exit - 1]
            if part.final_exit is not None:
                spent += part.frames * (whole[part.final_exit - 1] - whole[0])
    assert final.wer == errors.rate
    assert final.mean_macs_per_second == pytest.approx(spent / frames)
    assert (final.better, final.worse) == (better, worse)
    assert result.auto == evaluate(recognizer, utterances).auto
    assert result.auto is not None
    assert final.mean_macs_per_second > result.auto.mean_macs_per_second


def test_a_second_pass_needs_thresholds(fake_model: Path, utterances: list[Utterance]) -> None:
    bare = Recognizer.load(fake_model, use_policy=False)
    with pytest.raises(OptionError, match=r"has no policy\.json with thresholds"):
        evaluate(bare, utterances, second_pass=True)

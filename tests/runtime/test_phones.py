"""Bundles whose exits give phones too: what reaches the decoder, whatever the cuts, revisits and second passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asr import Recognizer
from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.policy import graphs_digest
from edge_asr.decoding.decoder import Decoder
from edge_asr.decoding.hotwords import Hotword
from edge_asr.errors import BundleError, NumericError, OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.evaluate import evaluate
from edge_asr.evaluation.recording import record
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.onnx_engine import OnnxEngine
from edge_asr.training.phones import Pronunciations
from export.arpa import read_arpa
from export.lm import convert
from tests.decoding.toy_lm import write_arpa
from tests.fake_bundle import PHONES, Sizes, write_fake_bundle, write_json
from tests.runtime.helpers import PatternPolicy, noise

SAID = "A AH\nAN AE N\nAND K\nANT S\nTAN T IY\nTHE DH AH\nHEN IH\nTEN L UW\nNET M\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_bundle(tmp_path_factory.mktemp("phones") / "fake", Sizes(phones=True, full_max_frames=750))


@pytest.fixture(scope="module")
def recognizer(path: Path) -> Recognizer:
    return Recognizer.load(path)


@pytest.fixture(scope="module")
def decoder(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("lm")
    (folder / "said.dict").write_text(SAID, encoding="utf-8")
    convert(read_arpa(write_arpa(folder / "toy.arpa")), folder / "toy.lm", Pronunciations.read(folder / "said.dict"))
    decoder = recognizer.decoder("lm", lm=folder / "toy.lm")
    assert decoder.phones
    return decoder


def splice(recognizer: Recognizer, pcm: Any, exits: list[int]) -> Any:
    stream = EncoderStream(recognizer.bundle, recognizer.engine, PatternPolicy(exits), chunk_frames=16)
    return [chunk.phones for chunk in stream.push(pcm) + stream.flush()]


@pytest.mark.parametrize("exits", [[1], [3], [1, 3, 2, 2]])
def test_the_decoder_reads_the_phones_of_the_exits_taken(
    recognizer: Recognizer, decoder: Decoder, exits: list[int]
) -> None:
    pcm = noise(16_000 * 6)
    decoding = decoder.start()
    for phones in splice(recognizer, pcm, exits):
        decoding.push(phones)
    results = []
    for parts in (1, 37):
        stream = recognizer.stream(policy=PatternPolicy(exits), decoder=decoder, nbest=3)
        for part in np.array_split(pcm, parts):
            stream.feed(part)
            assert stream.partial.startswith(stream.stable)
        results.append(stream.finish())
    whole, cut = results
    assert whole.text == decoding.result().text.lower()
    assert whole.text
    assert (whole.words, whole.alternatives, whole.tokens) == (cut.words, cut.alternatives, cut.tokens)
    assert " ".join(word.word for word in whole.words) == whole.text
    assert {token.piece for token in whole.tokens} <= set(PHONES[1:])


def test_what_is_not_decided_yet_comes_from_exit_1(recognizer: Recognizer) -> None:
    pcm = noise(16_000 * 2)
    stream = EncoderStream(recognizer.bundle, recognizer.engine, FixedPolicy(1), chunk_frames=16)
    decided = stream.push(pcm)
    heard = np.concatenate(
        [*(chunk.phones for chunk in decided if chunk.phones is not None), stream.provisional(phones=True)]
    )
    first = splice(recognizer, pcm, [1])
    np.testing.assert_array_equal(heard, np.concatenate(first)[: len(heard)])
    assert stream.provisional(phones=True).shape == (stream.provisional().shape[0], len(PHONES))


def test_a_second_pass_gives_the_phones_of_full_mode(recognizer: Recognizer, decoder: Decoder) -> None:
    pcm = noise(16_000 * 5)
    full = recognizer.transcribe(pcm, exit=3, chunk="full", decoder=decoder)
    second = recognizer.transcribe(pcm, exit=3, chunk=640, decoder=decoder, second_pass=True)
    assert second.text == full.text
    spliced = EncoderStream(
        recognizer.bundle, recognizer.engine, FixedPolicy(1), chunk_frames=16, second_pass=FixedPolicy(3)
    )
    whole = (spliced.push(pcm) + spliced.flush())[-1]
    assert whole.whole
    assert whole.phones is not None
    np.testing.assert_allclose(np.exp(whole.phones).sum(axis=1), 1.0, atol=1e-4)


def test_a_revisit_brings_phones(recognizer: Recognizer) -> None:
    pcm = noise(16_000 * 4)
    stream = EncoderStream(recognizer.bundle, recognizer.engine, FixedPolicy(1), chunk_frames=16, keep=8)
    stream.push(pcm)
    again = stream._utterance.revisit(1, FixedPolicy(3))
    assert again is not None
    np.testing.assert_array_equal(again.phones, splice(recognizer, pcm, [3])[1])


def test_hotwords_without_a_pronunciation_read_pieces(recognizer: Recognizer, decoder: Decoder) -> None:
    spelled = recognizer.transcribe(noise(16_000 * 3), exit=2, decoder=decoder, hotwords=["ab"])
    assert {token.piece for token in spelled.tokens} <= set(recognizer.tokens.pieces)


def test_thresholds_hold_for_what_was_read_in_calibration(path: Path, tmp_path: Path, decoder: Decoder) -> None:
    folder = tmp_path / "own"
    shutil.copytree(path, folder)
    bundle = Bundle.load(folder)
    part = {"criterion": "frame_entropy", "thresholds": {"640": [100.0, 100.0]}}  # always at exit 1
    policy: dict[str, Any] = {
        "format": "edge-asr-policy",
        "version": 2,
        "precision": bundle.precision(None),
        "graphs": graphs_digest(bundle.spec, bundle.precision(None)),
        "criterion": "frame_entropy",
        "thresholds": {"640": [-1.0, -1.0]},  # never before the last
        "decoders": {"lm": part},
    }
    pcm = noise(16_000 * 3)
    soundfile.write(tmp_path / "a.wav", pcm, 16_000, subtype="FLOAT")
    utterance = Utterance("a", tmp_path / "a.wav", "A", "s")
    for phones in (None, True, False):
        policy["decoders"]["lm"] = part if phones is None else part | {"calibration": {"phones": phones}}
        (folder / "policy.json").write_text(json.dumps(policy))
        recognizer = Recognizer.load(folder)
        left = [
            {chunk.exit for chunk in recognizer.transcribe(pcm, decoder=decoder, hotwords=hotwords).chunks}
            for hotwords in ([], ["ab"])  # the second one has no pronunciation
        ]
        assert left == ([{3}, {1}] if phones is False else [{1}, {3}])
        for hotwords, exits in zip(([], [Hotword("ab")]), left, strict=True):
            found = evaluate(recognizer, [utterance], decoder=decoder, hotwords=hotwords).auto
            assert found is not None
            assert {int(exit) for exit, count in found.exit_histogram.items() if count} == exits
    assert decoder.unspoken([Hotword("ab"), Hotword("the ant")]) == ["AB"]


def test_recordings_hold_phones(recognizer: Recognizer, decoder: Decoder, tmp_path: Path) -> None:
    pcm = noise(16_000 * 3)
    soundfile.write(tmp_path / "a.wav", pcm, 16_000, subtype="FLOAT")
    recording = record(recognizer, Utterance("a", tmp_path / "a.wav", "A", "s"))
    for exit in (1, 3):
        text = recognizer.transcribe(pcm, exit=exit, decoder=decoder).text
        assert recording.decode(exit, decoder.start()).text.lower() == text


def test_without_phones_there_are_none(tmp_path: Path, decoder: Decoder) -> None:
    recognizer = Recognizer.load(write_fake_bundle(tmp_path / "plain"))
    assert recognizer.phones is None
    assert splice(recognizer, noise(16_000), [2])[0] is None
    with pytest.raises(OptionError, match="reads phones"):
        recognizer.transcribe(noise(16_000), decoder=decoder, exit=2)


def test_a_bundle_must_keep_its_word(tmp_path: Path) -> None:
    plain = write_fake_bundle(tmp_path / "plain")
    fields = json.loads((plain / "bundle.json").read_text())
    (plain / "phones.txt").write_text("\n".join(PHONES) + "\n")
    fields["phones"] = {"file": "phones.txt", "size": len(PHONES), "blank": 0}
    write_json(plain, fields, ["phones.txt"])
    with pytest.raises(BundleError, match="lacks this output"):
        OnnxEngine(Bundle.load(plain))
    fields["phones"]["size"] = 5
    write_json(plain, fields)
    with pytest.raises(BundleError, match="79 lines"):
        Recognizer.load(plain)
    fields["phones"]["file"] = "other.txt"
    write_json(plain, fields)
    with pytest.raises(BundleError, match=r"other\.txt"):
        Bundle.load(plain)


def test_phones_that_are_no_numbers(recognizer: Recognizer) -> None:
    class Broken:
        def run(self, graph: str, inputs: Any) -> Any:
            outputs = recognizer.engine.run(graph, inputs)
            if graph == "segment2":
                outputs["phone_log_probs"] = outputs["phone_log_probs"] * np.nan
            return outputs

    stream = EncoderStream(recognizer.bundle, Broken(), FixedPolicy(2), chunk_frames=16)
    with pytest.raises(NumericError, match="phone_log_probs"):
        stream.push(noise(16_000 * 3))

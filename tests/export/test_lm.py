"""`python -m export lm`: what it writes, how a bundle takes it up, and ARPA files that are none."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from edge_asr import Recognizer
from edge_asr.bundle.bundle import Bundle
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import BundleError, DataError
from export.__main__ import main
from export.arpa import read_arpa
from export.lm import build_trie, convert, quantiser
from tests.decoding.toy_lm import WORDS, write_arpa
from tests.fake_bundle import write_fake_bundle


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa")
    assert main(["lm", "--arpa", str(arpa), "--out", str(tmp_path / "en.lm")]) == 0
    assert "wrote" in capsys.readouterr().err
    assert NgramModel.load(tmp_path / "en.lm").order == 3
    assert main(["lm", "--arpa", str(tmp_path / "none"), "--out", str(tmp_path / "en.lm")]) == 1
    assert main(["lm", "--arpa", str(arpa), "--out", str(tmp_path / "no" / "en.lm")]) == 1
    assert main(["lm", "--arpa", str(arpa), "--bundle", str(tmp_path)]) == 1


@pytest.mark.parametrize("ending", ["xz", "gz"])
def test_compressed_files(tmp_path: Path, ending: str) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa")
    packed = tmp_path / f"toy.arpa.{ending}"
    packed.write_bytes({"xz": lzma.compress, "gz": gzip.compress}[ending](arpa.read_bytes()))
    assert read_arpa(packed).vocabulary == read_arpa(arpa).vocabulary
    packed.write_bytes(packed.read_bytes()[:60])
    with pytest.raises(DataError, match="can't be read"):
        read_arpa(packed)


def test_a_bundle_with_a_language_model(tmp_path: Path) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")
    assert Bundle.load(bundle).lm_file is None
    assert Recognizer.load(bundle).decoder().name == "greedy"
    assert main(["lm", "--arpa", str(write_arpa(tmp_path / "toy.arpa")), "--bundle", str(bundle)]) == 0
    assert Bundle.load(bundle).lm_file == bundle / "en.lm"
    (bundle / "README.md").write_text((bundle / "README.md").read_text() + "\n## Weaknesses\nMany.\n")
    again = ["lm", "--arpa", str(tmp_path / "toy.arpa"), "--bundle", str(bundle), "--about", "Toys, public domain."]
    assert main(again) == 0
    card = (bundle / "README.md").read_text()
    assert card.count("## Language model") == 1
    assert "Toys, public domain." in card
    assert card.endswith("\n## Weaknesses\nMany.\n")
    assert "not described" not in card
    recognizer = Recognizer.load(bundle)
    assert recognizer.decoder().name == "lm"
    transcript = recognizer.transcribe(np.random.default_rng(0).normal(size=32_000) * 0.1, nbest=3)
    assert 1 <= len(transcript.alternatives) <= 3
    assert transcript.alternatives[0].text == transcript.text
    assert " ".join(word.word for word in transcript.words) == transcript.text
    assert all(0 <= word.start <= word.end <= 2.0 for word in transcript.words)
    (bundle / "en.lm").write_bytes((bundle / "en.lm").read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"en\.lm: field 'bytes': cut off"):
        Bundle.load(bundle)


@pytest.mark.parametrize("field", [7, {}, {"file": "../en.lm"}, {"file": "en.lm"}])
def test_a_bundle_that_names_a_wrong_language_model(tmp_path: Path, field: object) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")
    data = json.loads((bundle / "bundle.json").read_text())
    data["lm"] = field
    (bundle / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match="lm"):
        Bundle.load(bundle)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "words", None),
        ("ngram 2=", "ngram 5=", "expected 'ngram 2=COUNT'"),
        ("\\1-grams:", "\\unigrams:", "isn't an ARPA file"),
        ("\\2-grams:", "\\4-grams:", "expected .2-grams:"),
        ("\\end\\", "", "cut off"),
        ("\tTHE\t", "\tA\t", "a word that was there before"),
        ("\tTHE\t", "\tT H E S E\t", "expected 1 words"),
        ("\tTHE\t", "\tXYZ\t", "3-gram|2-gram"),
        ("-0.", "x0.", "1-gram 1 of|1-gram . of|1-gram .. of|could not convert"),
        ("-1.", "nan", "could not convert|isn't finite|finite"),
    ],
)
def test_broken_arpa_files(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa")
    text = arpa.read_text()
    assert old in text
    arpa.write_text(text.replace(old, new, 1))
    if message is None:
        read_arpa(arpa)  # what stands before the counts doesn't matter
        return
    with pytest.raises(DataError, match=message):
        read_arpa(arpa)


def test_models_that_the_format_can_not_hold(tmp_path: Path) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa", words=("A", "日本"))
    with pytest.raises(DataError, match="'日本' has a character beyond Latin-1"):
        convert(read_arpa(arpa), tmp_path / "out.lm")
    arpa = write_arpa(tmp_path / "toy.arpa")
    arpa.write_text(arpa.read_text().replace("</s>", "</S>"))
    with pytest.raises(DataError, match="lacks </s>"):
        convert(read_arpa(arpa), tmp_path / "out.lm")


def test_words_are_in_capitals_as_models_spell(tmp_path: Path) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa")
    convert(read_arpa(arpa), tmp_path / "upper.lm")
    arpa.write_text(arpa.read_text().lower())
    convert(read_arpa(arpa), tmp_path / "lower.lm")
    assert (tmp_path / "lower.lm").read_bytes() == (tmp_path / "upper.lm").read_bytes()
    arpa = write_arpa(tmp_path / "toy.arpa", words=("The", "sea", "the"))
    with pytest.raises(DataError, match=r"'The' and 'the' are both 'THE' in capitals.*a text in capitals"):
        convert(read_arpa(arpa), tmp_path / "both.lm")


def test_the_trie_counts_its_words() -> None:
    ids, letters, counts = build_trie(("<unk>", "<s>", "</s>", *WORDS))
    assert sorted(ids.tolist()) == list(range(len(WORDS) + 3))
    assert int((counts & 0x80 != 0).sum()) == len(WORDS)
    assert int((counts & 0x7F).sum()) == len(letters) - 1


def test_the_quantiser_keeps_few_values_and_zero() -> None:
    few = np.array([-3.0, -1.0, 0.0, -1.0], dtype=np.float32)
    assert quantiser(few, 16).tolist() == [-3.0, -1.0, 0.0]
    many = -np.random.default_rng(0).exponential(size=5000).astype(np.float32)
    many[0] = 0.0
    levels = quantiser(many, 128)
    assert len(levels) <= 128
    assert 0.0 in levels

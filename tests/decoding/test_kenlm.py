"""The converted model against the `kenlm` package, on the same ARPA file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from edge_asr.decoding.ngram import NgramModel
from export.arpa import read_arpa
from export.lm import convert
from tests.decoding.toy_lm import WORDS, write_arpa

kenlm = pytest.importorskip("kenlm", reason="pip install edge-asr[lm]")


def sentences(words: list[str], count: int, seed: int = 0) -> list[list[str]]:
    """Random sentences, every tenth word of them unknown to the model."""
    chance = random.Random(seed)
    return [
        [chance.choice(words) if chance.random() < 0.9 else "XQZJX" for _ in range(chance.randrange(0, 12))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_scores_are_those_of_kenlm(tmp_path: Path, order: int) -> None:
    arpa = write_arpa(tmp_path / "toy.arpa", order=order)
    steps = convert(read_arpa(arpa), tmp_path / "toy.lm")["steps"]
    reference, model = kenlm.Model(str(arpa)), NgramModel.load(tmp_path / "toy.lm")
    for words in sentences(list(WORDS), 500):
        wanted = reference.score(" ".join(words), bos=True, eos=True)
        step = sum(steps.values()) * (len(words) + 1)
        assert model.score_words(words) == pytest.approx(wanted, abs=step + 1e-4)


@pytest.mark.skipif("EDGE_ASR_ARPA" not in os.environ, reason="EDGE_ASR_ARPA names no ARPA file")
def test_ten_thousand_sentences_of_a_real_model(tmp_path: Path) -> None:
    path = Path(os.environ["EDGE_ASR_ARPA"])
    arpa = read_arpa(path)
    steps = convert(arpa, tmp_path / "real.lm")["steps"]
    reference, model = kenlm.Model(str(path)), NgramModel.load(tmp_path / "real.lm")
    trigrams = arpa.orders[-1].words
    chance = random.Random(1)
    worst = 0.0
    for _ in range(10_000):
        words = [
            arpa.vocabulary[i] for _ in range(chance.randrange(1, 5)) for i in trigrams[chance.randrange(len(trigrams))]
        ]
        words = [word for word in words if not word.startswith("<")]
        wanted = [score for score, _, _ in reference.full_scores(" ".join(words), bos=True, eos=True)]
        state = model.begin
        for word, score in zip([*map(model.word_id, words), 2], wanted, strict=True):
            ours, state = model.score(state, word)
            worst = max(worst, abs(ours - score))
    assert worst <= sum(steps.values()) + 1e-4

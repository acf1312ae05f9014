"""`python -m export lm --pronunciations`: dictionaries, what a word's variants are, and the tries that are built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_asr.bundle.bundle import Bundle
from edge_asr.decoding.lexicon import Lexicon
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import DataError, OptionError
from edge_asr.training.phones import TABLE, Pronunciations
from export.__main__ import main
from export.tries import breadth_first, phone_arrays
from tests.decoding.toy_lm import WORDS, write_arpa
from tests.fake_bundle import write_fake_bundle

TEXT = """;;; a remark
a AH0
a(2) EY1
a(3) AE1
a(4) AA1
ant AE1 N T
ant(2) AE0 N T
hen HH EH1 N # a bird
hen's HH EH1 N Z IH0
# and nothing here

horse HH AO1 R S
ten T EH1 N
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "words.dict").write_text(TEXT, encoding="utf-8")
    return tmp_path / "words.dict"


def spell(ways: Sequence[tuple[int, ...]]) -> list[str]:
    return [" ".join(TABLE[phone] for phone in way) for way in ways]


def test_the_phones_are_those_of_the_models() -> None:
    assert len(TABLE) == 79
    assert (TABLE[0], TABLE[1], TABLE[39], TABLE[40], TABLE[78]) == ("<blank>", "AA", "ZH", "▁AA", "▁ZH")


@pytest.mark.parametrize(
    ("word", "ways"),
    [
        ("A", ["▁AH", "▁EY", "▁AE"]),
        ("ant", ["▁AE N T"]),  # the second differs in stress alone
        ("HEN", ["▁HH EH N"]),
        ("HEN'S", ["▁HH EH N Z IH"]),  # as listed
        ("ANT'S", ["▁AE N T S"]),
        ("A'S", ["▁AH Z", "▁EY Z", "▁AE Z"]),
        ("HORSE'S", ["▁HH AO R S AH Z"]),
        ("NAT", []),
        ("NAT'S", []),
        ("'S", []),
    ],
)
def test_variants_and_possessives(words: Path, word: str, ways: list[str]) -> None:
    said = Pronunciations.read(words)
    assert spell(said.say(word)) == ways
    assert spell(said.say(word, variants=1)) == ways[:1]


def test_a_word_has_at_least_one_variant() -> None:
    with pytest.raises(OptionError, match="variants=0"):
        Pronunciations({}).say("A", variants=0)


def test_the_command(tmp_path: Path, words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arpa, out = write_arpa(tmp_path / "toy.arpa"), tmp_path / "en.lm"
    command = ["lm", "--arpa", str(arpa), "--out", str(out), "--pronunciations", str(words)]
    assert main(command) == 0
    assert f"pronunciations of 4 of {len(WORDS)} words (30.8%)" in capsys.readouterr().err
    trie = NgramModel.load(out).phones
    assert trie is not None
    assert trie.names == TABLE
    assert int(trie.ends.sum()) == 6
    assert main([*command, "--variants", "1"]) == 0
    trie = NgramModel.load(out).phones
    assert trie is not None
    assert int(trie.ends.sum()) == 4
    assert main([*command, "--variants", "0"]) == 1
    assert main([*command[:-1], str(arpa)]) == 1
    assert main(command[:-2]) == 0
    assert "pronunciations" not in capsys.readouterr().err.splitlines()[-1]
    assert NgramModel.load(out).phones is None


def test_a_bundle_gets_them_too(tmp_path: Path, words: Path) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")
    arpa = write_arpa(tmp_path / "toy.arpa")
    assert main(["lm", "--arpa", str(arpa), "--bundle", str(bundle), "--pronunciations", str(words)]) == 0
    file = Bundle.load(bundle).lm_file
    assert file is not None
    lm = NgramModel.load(file)
    assert lm.phones is not None
    lexicon = Lexicon.of_phones(lm.phones)
    node = lexicon.start[[TABLE.index("▁T")]]
    for phone in ("EH", "N"):
        node = lexicon.step(node, np.array([TABLE.index(phone)]))
    assert lm.spelling(int(lexicon.word[node[0]])) == "TEN"


def test_what_the_format_can_not_hold() -> None:
    unigrams = np.linspace(-1, -3, 400, dtype=np.float32)
    arrays = phone_arrays({word: [(40,)] for word in range(3, 258)}, unigrams)
    assert arrays["phone_homophones"].tolist() == [255]
    assert arrays["phone_words"].tolist() == list(range(3, 258))
    with pytest.raises(DataError, match="more than 255 words"):
        phone_arrays({word: [(40,)] for word in range(3, 259)}, unigrams)
    with pytest.raises(DataError, match="more than 127"):
        breadth_first([bytes([label]) for label in range(128)])

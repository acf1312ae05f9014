"""The beam search on phones: against the sum over all alignments, words that sound alike, cuts, revisits, streams."""

from __future__ import annotations

import math
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.decoder import Decoder
from edge_asr.decoding.decoding import Decoding
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import OptionError
from edge_asr.training.phones import TABLE, Pronunciations
from export.arpa import read_arpa
from export.lm import convert
from tests.decoding.alignments import EXACT, PIECES, random_log_probs
from tests.decoding.toy_lm import write_arpa

SAID = """A AH
AN AE N
AND AE N D
AND(2) AE N
ANT AE N T
TAN T AE N
THE N G T
THEN NG T
HEN N EH T
TEN N EH T
NET N EH T
"""  # of the toy's words; the last three sound alike, two have nearly the same letters, DON'T and HAND are not there
ID = {name: number for number, name in enumerate(TABLE)}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "said.dict").write_text(SAID, encoding="utf-8")
    convert(read_arpa(write_arpa(folder / "toy.arpa")), folder / "toy.lm", Pronunciations.read(folder / "said.dict"))
    return NgramModel.load(folder / "toy.lm")


def start(lm: NgramModel, **options: Any) -> Decoding:
    return Decoder("lm", PIECES, lm=lm, config=BeamConfig(**options) if options else None, phones=TABLE).start()


def sure(phones: str) -> npt.NDArray[np.float32]:
    """One frame for each phone, `_` for the blank."""
    ids = [ID.get(phone, 0) for phone in phones.split()]
    return np.log(np.eye(len(TABLE), dtype=np.float32)[ids] * 0.99 + 0.0001)


def decoded(lm: NgramModel, phones: str) -> str:
    decoding = start(lm)
    decoding.push(sure(phones))
    return decoding.result().text


def test_without_pruning_a_text_has_the_probability_of_all_its_alignments(spoken: NgramModel) -> None:
    """Words that sound alike share it, and whatever is not in the dictionary has none."""
    tokens = [0, *(ID[name] for name in ("▁AE", "▁AH", "N", "D", "T", "▁T", "AE"))]
    log_probs = np.full((5, len(TABLE)), -60.0, dtype=np.float32)
    log_probs[:, tokens] = random_log_probs(1, 5, len(tokens))
    ways: dict[tuple[int, ...], str] = {}
    for line in SAID.splitlines():
        word, first, *rest = line.split()
        said_so = (ID[f"▁{first}"], *(ID[phone] for phone in rest))
        ways[said_so] = word.partition("(")[0]
    ways[ID["▁AE"], ID["N"]] = "AN|AND"
    wanted: dict[tuple[str, ...], dict[tuple[int, ...], float]] = {}  # a text's pronunciations
    for path in product(tokens, repeat=len(log_probs)):
        kept = [token for i, token in enumerate(path) if token and (i == 0 or path[i - 1] != token)]
        starts = [i for i, token in enumerate(kept) if TABLE[token].startswith("▁")]
        if kept and starts[:1] != [0]:
            continue
        cut = [tuple(kept[low:high]) for low, high in pairwise([*starts, len(kept)])]
        if all(phones in ways for phones in cut):
            score = float(sum(log_probs[t, k] for t, k in enumerate(path)))
            for said in product(*(ways[phones].split("|") for phones in cut)):
                each = wanted.setdefault(said, {})
                each[tuple(kept)] = float(np.logaddexp(each.get(tuple(kept), -np.inf), score))
    decoding = start(spoken, **EXACT, lm_weight=0.5, word_bonus=0.3)
    decoding.push(log_probs)
    found = {one.text: one.score for one in decoding.result(10_000).alternatives}
    assert len(wanted) > 20
    for said, each in wanted.items():
        language = 0.5 * math.log(10) * spoken.score_words(said) + 0.3 * len(said)
        score = float(np.logaddexp.reduce(list(each.values())))
        assert found[" ".join(said)] == pytest.approx(score + language, abs=1e-3), said
    assert found.keys() == {" ".join(said) for said in wanted}
    assert any({"AN", "AND"} <= {*said} for said in wanted)


def test_of_words_that_sound_alike_the_language_model_chooses(spoken: NgramModel) -> None:
    alike = ("HEN", "TEN", "NET")
    for before, phones in (("A", "▁AH"), ("TAN", "▁T AE N"), ("ANT", "▁AE N T")):
        best = max(alike, key=lambda word: spoken.score_words([before, word]))  # and the sentence ends
        assert decoded(spoken, f"{phones} ▁N EH T").split() == [before, best]
    chosen = {decoded(spoken, f"{phones} ▁N EH T") for phones in ("▁AH", "▁T AE N", "▁AE N T")}
    assert len({text.split()[-1] for text in chosen}) > 1


def test_what_follows_chooses_too(spoken: NgramModel) -> None:
    alike, seen = ("HEN", "TEN", "NET"), 0
    words = {"A": "▁AH", "TAN": "▁T AE N", "ANT": "▁AE N T", "THE": "▁N G T", "THEN": "▁NG T"}
    for before, after in product(words, repeat=2):
        first = max(alike, key=lambda word: spoken.score_words([before, word], end=False))
        best = max(alike, key=lambda word: spoken.score_words([before, word, after]))
        decoding = start(spoken, acoustic_scale=3.0, beam=30.0)
        decoding.push(sure(f"{words[before]} _ ▁N EH T _ {words[after]}"))
        assert decoding.result().text.split() == [before, best, after]
        seen += first != best
    assert seen


def test_phones_are_not_letters(spoken: NgramModel) -> None:
    assert decoded(spoken, "▁N G T") == "THE"
    assert decoded(spoken, "▁NG T") == "THEN"


def test_words_begin_and_end_at_their_phones(spoken: NgramModel) -> None:
    decoding = start(spoken)
    decoding.push(sure("_ _ ▁T T"))
    decoding.push(sure("AE _ N _ _ ▁AH _"))
    first, second = decoding.result().words
    assert [(first.word, first.start, first.end), (second.word, second.start, second.end)] == [
        ("TAN", 2, 7),
        ("A", 9, 10),
    ]
    assert [TABLE[token.id] for token in decoding.result().tokens] == ["▁T", "AE", "N", "▁AH"]
    assert decoding.last_token_frame == 9
    assert 0.5 < first.confidence <= 1.0
    assert decoding.pieces == TABLE


def test_a_word_that_has_not_ended_is_not_shown(spoken: NgramModel) -> None:
    decoding = start(spoken)
    decoding.push(sure("▁AH ▁N EH"))
    assert decoding.partial(sure("")).text == "A"
    assert decoding.partial(sure("T")).text.split()[0] == "A"
    assert len(decoding.partial(sure("T")).text.split()) == 2
    assert decoding.partial(sure("")).text == "A"


def test_nothing_silence_and_nan(spoken: NgramModel) -> None:
    decoding = start(spoken)
    assert decoding.result(3).text == decoding.partial(sure("")).text == ""
    decoding.push(sure("_ " * 500))
    decoding.boundary()
    assert decoding.result().words == ()
    with pytest.raises(OptionError, match="expected \\(T, 79\\)"):
        decoding.push(np.zeros((2, len(PIECES)), dtype=np.float32))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 12), max_size=6))
def test_cuts_change_nothing(spoken: NgramModel, seed: int, cuts: list[int]) -> None:
    log_probs = random_log_probs(seed, 40, len(TABLE), sharp=4.0)
    whole, parts = start(spoken), start(spoken)
    whole.push(log_probs)
    for part in np.split(log_probs, np.cumsum(cuts)):
        parts.push(part)
    assert parts.result(5) == whole.result(5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=4))
def test_a_revisit_gives_what_a_fresh_decoding_gives(
    spoken: NgramModel, seed: int, revisits: list[tuple[int, int]]
) -> None:
    chunks = [random_log_probs(seed + i, 16, len(TABLE), sharp=4.0) for i in range(9)]
    decoding, fresh = start(spoken), start(spoken)
    for number, chunk in enumerate(chunks):
        decoding.push(chunk)
        for when, back in revisits:
            if when == number and back <= number:
                chunks[number - back] = random_log_probs(seed + 100 + when, 16, len(TABLE), sharp=4.0)
                decoding.replace(number - back, chunks[number - back])
    for chunk in chunks:
        fresh.push(chunk)
    assert decoding.result(3).text == fresh.result(3).text
    assert decoding.result(3).words == fresh.result(3).words


@pytest.mark.parametrize("final", [False, True])
def test_a_piece_ends_words_and_may_come_again(spoken: NgramModel, final: bool) -> None:
    decoding = start(spoken)
    decoding.push(sure("▁AH ▁T AE N"))
    decoding.boundary(final=final)
    decoding.push(sure("▁AE N T"))
    assert decoding.result().text == "A TAN ANT"
    if final:
        decoding.restart(sure("_ ▁AH _"))
        assert decoding.result().text == "A TAN A"


def test_long_audio_is_settled(spoken: NgramModel) -> None:
    decoding = start(spoken)
    for _ in range(200):
        decoding.push(sure("_ ▁T AE N _ ▁AE N T _ _ ▁AH _"))
        decoding.partial(sure(""))
    result = decoding.result()
    assert result.text.split() == ["TAN", "ANT", "A"] * 200
    assert result.words[-1].start == 12 * 199 + 10
    assert len(decoding._search.rank(decoding._state)[0].history.tokens()) < 400  # type: ignore[attr-defined]


def test_hotwords_are_heard(spoken: NgramModel) -> None:
    """Any of a phrase's pronunciations counts, and only whole phrases do."""
    decoder = Decoder("lm", PIECES, lm=spoken, config=BeamConfig(**EXACT), phones=TABLE)
    log_probs = random_log_probs(4, 6, len(TABLE), sharp=1.0)
    log_probs[:, [i for i in range(len(TABLE)) if TABLE[i].strip("▁") not in ("<blank>", "AE", "N", "T", "AH")]] = -60.0
    found = []
    phrases = [Hotword("a tan", 0.5), Hotword("and", 0.3)]
    for hotwords in ([], phrases):
        decoding = decoder.start(hotwords)
        assert decoding.phones
        decoding.push(log_probs)
        found.append({one.text: one.score for one in decoding.result(10_000).alternatives})
    plain, boosted = found
    # What a phrase's share of a text's alignments is worth; texts that sound like one have it in none or in all.
    for text, score in boosted.items():
        words = text.split()
        gained = 0.9 * words.count("AND") + 2.0 * sum(pair == ("A", "TAN") for pair in pairwise(words))
        if "AN" not in words and "AND" not in words:
            assert score == pytest.approx(plain[text] + gained, abs=1e-3), text
    assert any("A TAN" in text for text in boosted)


def test_a_phrase_is_heard_over_the_end_of_a_piece(spoken: NgramModel) -> None:
    decoder = Decoder("lm", PIECES, lm=spoken, phones=TABLE)
    scores = []
    for hotwords in ([], [Hotword("tan ant", 0.5)]):
        decoding = decoder.start(hotwords)
        decoding.push(sure("▁T AE N"))
        decoding.boundary()
        decoding.push(sure("▁AE N T"))
        found = decoding.result().alternatives[0]
        assert found.text == "TAN ANT"
        scores.append(found.score)
    assert scores[1] - scores[0] == pytest.approx(3.0, abs=1e-3)


def test_hotwords_without_a_pronunciation_are_spelled(spoken: NgramModel) -> None:
    decoder = Decoder("lm", PIECES, lm=spoken, phones=TABLE)
    assert decoder.phones
    assert decoder.start().phones
    assert not decoder.start([Hotword("dean")]).phones
    assert not decoder.start([Hotword("a"), Hotword("tan dean")]).phones
    assert not Decoder("lm", PIECES, lm=spoken).phones
    assert not Decoder("beam", PIECES, phones=TABLE).phones


def test_a_hotword_that_says_how_it_is_said_is_heard(spoken: NgramModel) -> None:
    decoder = Decoder("lm", PIECES, lm=spoken, phones=TABLE)
    phrases = [Hotword("tan dean", 0.5, "/ D IY1 N"), Hotword("Jane's", 0.0, "jh ey n z")]
    decoding = decoder.start(phrases)
    assert decoding.phones
    decoding.push(sure("_ ▁AH ▁T AE N _ ▁D IY"))
    decoding.push(sure("N _ ▁JH EY N Z _ ▁T AE N"))
    assert decoding.partial(sure("")).text == "A TAN DEAN JANE'S TAN"
    result = decoding.result()
    assert [word.word for word in result.words] == ["A", "TAN", "DEAN", "JANE'S", "TAN"]
    assert (result.words[2].start, result.words[2].end) == (6, 9)
    # Another stream of the same decoder knows nothing of them.
    other = decoder.start()
    other.push(sure("_ ▁AH _ ▁D IY N"))
    assert "DEAN" not in other.result().text


def test_a_word_that_the_model_lacks_counts_as_unknown_without_a_penalty(spoken: NgramModel) -> None:
    tokens = [0, *(ID[name] for name in ("▁T", "AE", "N", "▁AH"))]
    log_probs = np.full((4, len(TABLE)), -60.0, dtype=np.float32)
    log_probs[:, tokens] = random_log_probs(3, 4, len(tokens))
    config = BeamConfig(**EXACT, lm_weight=0.5, word_bonus=0.3)
    decoder = Decoder("lm", PIECES, lm=spoken, config=config, phones=TABLE)
    decoding = decoder.start([Hotword("tad", 0.7, "T AE")])
    decoding.push(log_probs)
    found = {one.text: one.score for one in decoding.result(10_000).alternatives}
    for text, ways in {"TAD": "▁T AE", "A TAD": "▁AH ▁T AE", "TAN": "▁T AE N", "TAD A": "▁T AE ▁AH"}.items():
        wanted = tuple(ID[phone] for phone in ways.split())
        score = -np.inf
        for path in product(tokens, repeat=len(log_probs)):
            if tuple(k for i, k in enumerate(path) if k and (i == 0 or path[i - 1] != k)) == wanted:
                score = np.logaddexp(score, sum(log_probs[t, k] for t, k in enumerate(path)))
        words = text.split()
        language = 0.5 * math.log(10) * spoken.score_words(words) + 0.3 * len(words) + 0.7 * 3 * words.count("TAD")
        assert found[text] == pytest.approx(score + language, abs=1e-3), text


def test_a_hotword_that_sounds_like_a_known_word_is_preferred(spoken: NgramModel) -> None:
    decoder = Decoder("lm", PIECES, lm=spoken, phones=TABLE)
    texts = []
    for hotwords in ([], [Hotword("Tann", 1.0, "T AE N")], [Hotword("hen", 1.0, "HH EH N")]):
        decoding = decoder.start(hotwords)
        decoding.push(sure("▁AH _ ▁T AE N _ ▁AH"))
        texts.append(decoding.result().text)
    assert texts == ["A TAN A", "A TANN A", "A TAN A"]
    decoding.push(sure("_ ▁HH EH N"))  # a known word, said in another way
    assert decoding.result().text == "A TAN A HEN"


def test_a_phone_that_is_none(spoken: NgramModel) -> None:
    with pytest.raises(OptionError, match="hotword 'DEAN': no phone is called 'II'; allowed: AA, AE"):
        Decoder("lm", PIECES, lm=spoken, phones=TABLE).start([Hotword("dean", said="D II N")])


def test_without_pronunciations_pieces_are_read(lm: NgramModel) -> None:
    assert lm.phones is None
    assert not Decoder("lm", PIECES, lm=lm, phones=TABLE).phones


def test_other_phones_are_refused(spoken: NgramModel) -> None:
    with pytest.raises(OptionError, match="other phones"):
        Decoder("lm", PIECES, lm=spoken, phones=TABLE[:-1])


def test_the_file_is_there(spoken: NgramModel) -> None:
    assert isinstance(spoken.file.path, Path)
    assert spoken.phones is not None
    assert spoken.phones.names == TABLE

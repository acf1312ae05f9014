"""Hotwords: what they gain, what they cost others, and lists that are not lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.decoder import Decoder
from edge_asr.decoding.hotwords import MOST, Hotword, HotwordGraph, read_hotwords
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import OptionError
from tests.decoding.alignments import EXACT, PIECES, random_log_probs

LETTERS = st.lists(st.sampled_from(range(1, len(PIECES))), max_size=12)
PHRASES = st.lists(st.text("ADENTH ", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(PHRASES, LETTERS)
def test_the_graph_counts_phrases_between_word_edges(phrases: list[str], tokens: list[int]) -> None:
    hotwords = list({h.phrase: h for h in (Hotword(p, 1.0 + i) for i, p in enumerate(phrases))}.values())
    graph = HotwordGraph(hotwords, PIECES)
    state, gained = int(graph.space[HotwordGraph.START]), 0.0
    for token in tokens:
        gained += float(graph.gain[state, token])
        state = int(graph.next[state, token])
    gained += float(graph.end[state])
    text = f" {' '.join(''.join(PIECES[token] for token in tokens).replace('▁', ' ').split())} "
    wanted = 0.0
    for hotword in hotwords:
        count = sum(text.startswith(f" {hotword.phrase} ", i) for i in range(len(text)))
        wanted += count * hotword.boost * len(hotword.phrase.replace(" ", ""))
    assert gained == pytest.approx(wanted, rel=1e-5)
    assert (graph.ahead <= max(h.boost * len(h.phrase) for h in hotwords)).all()


def test_a_word_that_the_lexicon_lacks_is_spelled_if_a_phrase_has_it(lm: NgramModel) -> None:
    path = [2, 4, 0, 1, 4, 6]  # AN NAN
    log_probs = np.log(np.eye(len(PIECES), dtype=np.float32)[path] * 0.9 + 0.1 / len(PIECES))
    decoder = Decoder("lm", PIECES, lm=lm, config=BeamConfig(lexicon=True))
    texts = []
    for hotwords in ([], [Hotword("nan", 2.0)]):
        decoding = decoder.start(hotwords)
        decoding.push(log_probs)
        texts.append(decoding.result().text)
    assert texts[0] != "AN NAN"
    assert texts[1] == "AN NAN"


def test_texts_without_a_phrase_keep_their_scores(lm: NgramModel) -> None:
    log_probs = random_log_probs(5, 3)
    decoder = Decoder("lm", PIECES, lm=lm, config=BeamConfig(**EXACT))
    scores: list[dict[str, float]] = []
    for hotwords in ([], [Hotword("then and then", 3.0), Hotword("den", 3.0)]):
        decoding = decoder.start(hotwords)
        decoding.push(log_probs)
        scores.append({one.text: one.score for one in decoding.result(10_000).alternatives})
    before, after = scores
    assert before.keys() == after.keys()
    for text, score in before.items():
        if not {"DEN"} & set(text.split()):
            assert after[text] == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_phrase_reaches_over_the_end_of_a_piece(seed: int) -> None:
    """A text's phrases count wherever pieces end, and a text without one keeps its score."""
    before, after = random_log_probs(seed, 2), random_log_probs(seed + 10, 1)
    decoder = Decoder("beam", PIECES, config=BeamConfig(**EXACT))
    phrases = [Hotword("an a", 2.0), Hotword("and", 1.0), Hotword("a th a", -1.0), Hotword("n", 0.5)]
    scores: list[dict[str, float]] = []
    for hotwords in ([], phrases):
        decoding = decoder.start(hotwords)
        decoding.push(before)
        decoding.boundary()
        decoding.push(after)
        scores.append({one.text: one.score for one in decoding.result(100_000).alternatives})
    plain, boosted = scores
    assert plain.keys() == boosted.keys()
    assert any(" AN A " in f" {text} " for text in plain)
    for text, score in plain.items():
        spelled = f" {text} "
        for hotword in phrases:
            count = sum(spelled.startswith(f" {hotword.phrase} ", i) for i in range(len(spelled)))
            score += count * hotword.whole
        assert boosted[text] == pytest.approx(score, abs=1e-3), text


def test_a_word_that_ends_with_a_piece_is_no_beginning_of_one() -> None:
    pieces = ("<blank>", "▁MOUNT", "▁VERNON", "VERNON", "▁")
    graph = HotwordGraph([Hotword("Mount Vernon"), Hotword("Mountvernon", 2.0)], pieces)

    def gained(*tokens: int | None) -> float:
        """What tokens gain; None is the end of a piece."""
        state, total = int(graph.space[HotwordGraph.START]), 0.0
        for token in (*tokens, None):
            total += float(graph.end[state] if token is None else graph.gain[state, token])
            state = int(graph.space[state] if token is None else graph.next[state, token])
        return total

    assert gained(1, 2) == gained(1, None, 2) == gained(1, 4, None, 2, None, None) == gained(1, None, 3) == 11.0
    assert gained(1, 3) == 22.0
    assert gained(1, None) == gained(2, None, 1) == 0.0


def test_a_list(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    lines = ["# names", "", "Zoë's Café", "well-known\t2.5", "  the  end # really"]
    lines += ["Kowalski\t\tk ah0 w AA1 L S K IY0  # by ear", "Mount Huck\t2\t/ HH AH K\r"]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert read_hotwords(file, 0.5) == [
        Hotword("ZOE'S CAFE", 0.5),
        Hotword("WELL KNOWN", 2.5),
        Hotword("THE END", 0.5),
        Hotword("KOWALSKI", 0.5, "k ah0 w AA1 L S K IY0"),
        Hotword("MOUNT HUCK", 2.0, "/ HH AH K"),
    ]
    ways = [hotword.ways for hotword in read_hotwords(file)[-2:]]
    assert ways == [(("K", "AH", "W", "AA", "L", "S", "K", "IY"),), ((), ("HH", "AH", "K"))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"fine\n12345\n", "line 2: hotword '12345'"),
        (b"word\tmany\n", "line 1: could not convert"),
        (b"word\tnan\n", "boost nan"),
        (b"word\t1e9\n", "boost 1000000000.0"),
        (b"\t2\n", "hotword ''"),
        (b"\t\tAH\n", "hotword ''"),
        (
            b"two words\t1\tT UW W ER D Z\n",
            "line 1: .*: 1 pronunciations in .*, expected one for each of 2",
        ),
        (b"word\t1\tW ER / D\n", "2 pronunciations .* each of 1 words"),
        (b"word\t1\tW 3R D\n", "'3R' is no phone"),
        (b"a" * 1000, "1 to 100 letters"),
        (b"word\n" * (MOST + 1), f"at most {MOST}"),
    ],
)
def test_hostile_lists(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(OptionError, match=message):
        read_hotwords(file)


def test_no_list(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path("nul\0")):
        with pytest.raises(OptionError, match="can't be read"):
            read_hotwords(path)


@pytest.mark.parametrize("phrase", ["", " ", "42", None, 7, "'"])
def test_a_phrase_without_letters(phrase: Any) -> None:
    with pytest.raises(OptionError, match="with A to Z"):
        Hotword(phrase)


def test_a_phrase_that_the_model_can_not_spell() -> None:
    with pytest.raises(OptionError, match="hotword 'QUIZ': the model can't spell 'IQUZ'"):
        HotwordGraph([Hotword("quiz")], PIECES)

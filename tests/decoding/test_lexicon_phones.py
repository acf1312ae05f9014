"""The trie of phones: what was written is read back, the lexicon walks it, and hostile arrays are errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.lexicon import OFF, ROOT, Lexicon, PhoneTrie, best_through
from edge_asr.decoding.lm_file import LmFile, write_lm_file
from edge_asr.decoding.ngram import SPECIAL_WORDS, NgramModel
from edge_asr.errors import LanguageModelError
from edge_asr.training.phones import TABLE, Pronunciations
from export.arpa import Arpa, read_arpa
from export.lm import convert
from tests.decoding.toy_lm import WORDS, write_arpa

PLAIN = 39
"""Phones without marks."""
Ways = dict[str, list[list[int]]]
Way = tuple[int, ...]
SAID: Ways = {"A": [[1], [2]], "AN": [[1, 4]], "AND": [[1, 4, 3], [1, 4]], "ANT": [[1, 4, 5]], "TEN": [[5, 2, 4]]}

# Few phones, so that words often sound alike or begin alike.
ways = st.dictionaries(
    st.sampled_from([*WORDS, "ZEBRA"]),
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4),
)


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Arpa:
    return read_arpa(write_arpa(tmp_path_factory.mktemp("arpa") / "toy.arpa"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phones")


@pytest.fixture(scope="module")
def said_file(arpa: Arpa, folder: Path) -> Path:
    convert(arpa, folder / "said.lm", Pronunciations(SAID))
    return folder / "said.lm"


def trie_of(arpa: Arpa, folder: Path, words: Ways) -> tuple[NgramModel, PhoneTrie]:
    convert(arpa, folder / "random.lm", Pronunciations(words))
    lm = NgramModel.load(folder / "random.lm")
    assert lm.phones is not None
    return lm, lm.phones


def marked(words: Ways, variants: int = 3) -> set[tuple[Way, str]]:
    """All (phones, word) that must be there, and no others."""
    found = ((word, way) for word, all_ways in words.items() for way in all_ways[:variants] if word in WORDS)
    return {((way[0] + PLAIN, *way[1:]), word) for word, way in found}


def paths(trie: PhoneTrie) -> list[Way]:
    """The phones on the way to each node."""
    result: list[Way] = [()]
    for token, parent in zip(trie.labels[1:].tolist(), trie.parent.tolist(), strict=True):
        result.append((*result[parent], token))
    return result


@settings(max_examples=60, deadline=None)
@given(ways)
def test_every_pronunciation_leads_to_its_words_and_nothing_else_is_there(
    arpa: Arpa, folder: Path, words: Ways
) -> None:
    lm, trie = trie_of(arpa, folder, words)
    unigrams = lm.unigrams()
    found = []
    for node, path in enumerate(paths(trie)):
        if trie.word[node] >= 0:
            ids = [int(trie.word[node]), *trie.others.get(node, ())]
            assert sorted(ids, key=lambda word: -unigrams[word]) == ids
            found += [(path, lm.spelling(word)) for word in ids]
        else:
            assert node not in trie.others
    assert len(found) == len(set(found))
    assert set(found) == marked(words)
    assert {path for path in paths(trie) if path} == {p[:n] for p, _ in found for n in range(1, len(p) + 1)}
    assert lm.file.header["pronounced"] == len({word for _, word in found})


@settings(max_examples=60, deadline=None)
@given(ways)
def test_the_lexicon_walks_as_a_plain_trie_does(arpa: Arpa, folder: Path, words: Ways) -> None:
    lm, trie = trie_of(arpa, folder, words)
    lexicon = Lexicon.of_phones(trie)
    nodes = {path: node for node, path in enumerate(paths(trie))}
    tokens = np.arange(len(TABLE))
    assert (lexicon.size, len(lexicon.word)) == (len(TABLE), len(trie) + 1)
    assert lexicon.start.tolist() == [nodes.get((token,), OFF) for token in tokens.tolist()]
    for path, node in nodes.items():
        expected = [nodes.get((*path, token), OFF) if path else OFF for token in tokens.tolist()]
        assert lexicon.step(np.array([node]), tokens).tolist() == expected
        here = {word for p, word in marked(words) if p == path}
        listed = [int(lexicon.word[node])] if lexicon.word[node] >= 0 else []
        listed += lexicon.others.get(node, ())
        assert {lm.spelling(word) for word in listed} == here
    assert (lexicon.step(np.array([[OFF]]), tokens) == OFF).all()
    assert lexicon.word[OFF] == -1


@settings(max_examples=40, deadline=None)
@given(ways)
def test_the_best_word_behind_a_node(arpa: Arpa, folder: Path, words: Ways) -> None:
    lm, trie = trie_of(arpa, folder, words)
    score = {word: float(lm.unigrams()[lm.word_id(word)]) for word in WORDS}
    best = best_through(trie, lm.unigrams())
    for node, path in enumerate(paths(trie)):
        assert best[node] == max((score[w] for p, w in marked(words) if p[: len(path)] == path), default=-99.0)
    letters = best_through(lm.trie, lm.unigrams())
    for node in range(len(lm.trie)):
        assert letters[node] == max(score[word] for word in WORDS if word.startswith(lm.trie.spelling(node)))
    assert best[OFF] == letters[OFF] == 0
    assert (len(best), len(letters)) == (len(trie) + 1, len(lm.trie) + 1)


further = st.dictionaries(st.integers(0, 2), st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), max_size=3))


@settings(max_examples=60, deadline=None)
@given(ways, further)
def test_a_lexicon_that_has_grown_has_all_words(
    arpa: Arpa, folder: Path, words: Ways, further: dict[int, list[list[int]]]
) -> None:
    lm, trie = trie_of(arpa, folder, words)
    before, best = Lexicon.of_phones(trie), best_through(trie, lm.unigrams())
    new = {lm.words + i: [(way[0] + PLAIN, *way[1:]) for way in ways] for i, ways in further.items()}
    likely = {word: -1.0 - word % 3 for word in new}
    lexicon, ahead = before.grown(new, best, likely)
    there: dict[Way, set[int]] = {}
    for path, word in marked(words):
        there.setdefault(path, set()).add(lm.word_id(word))
    for word, all_ways in new.items():
        for path in all_ways:
            there.setdefault(path, set()).add(word)
    prefixes = {path[:n] for path in there for n in range(1, len(path) + 1)}
    score = {word: float(p) for word, p in enumerate(lm.unigrams())} | likely
    tokens = np.arange(len(TABLE))
    node = {(): ROOT}
    for path in sorted(prefixes, key=len):
        before_it = node[path[:-1]]
        one = np.array([path[-1]])
        node[path] = int((lexicon.start[one] if len(path) == 1 else lexicon.step(np.array([before_it]), one))[0])
        listed = [int(lexicon.word[node[path]]), *lexicon.others.get(node[path], ())]
        assert sorted(listed) == sorted(there.get(path, {-1}))
        assert not set(listed) & set(new) or listed[0] in new
        behind = [score[word] for p, found in there.items() if p[: len(path)] == path for word in found]
        assert ahead[node[path]] == pytest.approx(max(behind))
    assert len(set(node.values())) == len(prefixes) + 1  # every one has a node of its own, and nothing else is there
    assert lexicon.start.tolist() == [node.get((token,), OFF) for token in tokens.tolist()]
    for path in prefixes:
        expected = [node.get((*path, token), OFF) for token in tokens.tolist()]
        assert lexicon.step(np.array([node[path]]), tokens).tolist() == expected
    assert (len(ahead), lexicon.word[OFF], ahead[OFF]) == (len(lexicon.word), -1, best[OFF])
    assert len(before.word) == len(trie) + 1  # what it grew from is as it was
    assert set(before.others) <= set(range(len(trie)))


def test_phones_that_start_no_word_lead_nowhere_from_the_root() -> None:
    def bytes_(*values: int) -> npt.NDArray[np.uint8]:
        return np.array(values, dtype=np.uint8)

    # 1 and 2 both lead from the root, and 2, which starts a word, also goes on from 1.
    trie = PhoneTrie(
        ("-", "A", "▁A"), bytes_(0, 1, 2, 2), bytes_(2, 1, 128, 128), bytes_(1, 1), np.array([3, 4], "<u4")
    )
    lexicon = Lexicon.of_phones(trie)
    assert lexicon.start.tolist() == [OFF, OFF, 2]
    assert lexicon.step(np.array([ROOT, 1, 2]), np.array([2, 2, 2])).tolist() == [OFF, 3, OFF]


def test_a_file_without_phones_has_none_and_words_have_spellings(lm: NgramModel) -> None:
    assert lm.phones is None
    assert "phones" not in lm.file.header
    assert [lm.spelling(lm.word_id(word)) for word in WORDS * 2] == list(WORDS * 2)
    assert [lm.spelling(number) for number in range(3)] == list(SPECIAL_WORDS)


NODES = ("phone_tokens", "phone_counts")
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def put(name: str, place: int, value: int) -> Change:
    return lambda header, arrays: arrays[name].__setitem__(place, value)


def cut(name: str) -> Change:
    return lambda header, arrays: arrays.update({name: arrays[name][:-1]})


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("phones", lambda header, arrays: header.update(phones="AA")),
        ("phones", lambda header, arrays: header.update(phones=[])),
        ("phones", lambda header, arrays: header.update(phones=None)),
        ("phones", lambda header, arrays: header.update(phones=[*TABLE[:-1], 7])),
        ("phones", lambda header, arrays: header.update(phones=[*TABLE, "AA"])),
        ("phones", lambda header, arrays: header.update(phones=[*TABLE, *map(str, range(200))])),
        ("phone_tokens", lambda header, arrays: header.update(phones=TABLE[:20])),
        ("phone_tokens", lambda header, arrays: arrays.pop("phone_tokens")),
        ("phone_tokens", put("phone_tokens", 1, 79)),
        ("phone_tokens", put("phone_tokens", 1, 0)),
        ("phone_tokens", put("phone_tokens", 1, 45)),  # after its sister
        ("phone_counts", cut("phone_counts")),
        ("phone_counts", cut("phone_tokens")),
        ("phone_counts", put("phone_counts", 0, 1)),
        ("phone_counts", lambda header, arrays: arrays.update(phone_counts=np.roll(arrays["phone_counts"], 1))),
        ("phone_counts", lambda header, arrays: arrays.update({n: arrays[n][:0] for n in NODES})),
        ("phone_homophones", cut("phone_homophones")),
        ("phone_homophones", put("phone_homophones", 0, 0)),
        ("phone_words", put("phone_homophones", 0, 9)),
        ("phone_words", cut("phone_words")),
        ("phone_words", put("phone_words", 0, len(WORDS) + 3)),
        ("phone_words", put("phone_words", 0, 2)),
        ("phone_words", lambda header, arrays: arrays.update(phone_words=arrays["phone_words"].astype(np.uint16))),
        ("phone_words", lambda header, arrays: arrays.update(phone_words=arrays["phone_words"][[0, 1, 3, 2, 4, 5, 6]])),
    ],
)  # fmt: skip
def test_hostile_arrays(said_file: Path, tmp_path: Path, field: str, change: Change) -> None:
    good = LmFile.open(said_file)
    header, arrays = dict(good.header), {name: array.copy() for name, array in good.arrays.items()}
    assert arrays["phone_homophones"].tolist() == [1, 1, 2, 1, 1, 1]
    change(header, arrays)
    write_lm_file(tmp_path / "bad.lm", header, arrays)
    with pytest.raises(LanguageModelError) as caught:
        NgramModel.load(tmp_path / "bad.lm")
    assert caught.value.field == field


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_arrays_are_an_error_or_work(said_file: Path, folder: Path, data: Any) -> None:
    good = LmFile.open(said_file)
    arrays = {name: array.copy() for name, array in good.arrays.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        content = arrays[data.draw(st.sampled_from(sorted(n for n in arrays if n.startswith("phone"))))].view(np.uint8)
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    write_lm_file(folder / "damaged.lm", good.header, arrays)
    try:
        lm = NgramModel.load(folder / "damaged.lm")
    except LanguageModelError:
        return
    assert lm.phones is not None
    lexicon = Lexicon.of_phones(lm.phones)
    assert (np.diff(lexicon.keys.astype(np.int64)) > 0).all()
    assert len(best_through(lm.phones, lm.unigrams())) == len(lm.phones) + 1
    assert all(lm.spelling(word) in WORDS for words in lexicon.others.values() for word in words)

"""The language-model file: read back what was written, and each way in which a file can be wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.lexicon import OFF, Lexicon
from edge_asr.decoding.lm_file import MAGIC, LmFile, write_lm_file
from edge_asr.decoding.ngram import UNKNOWN, NgramModel
from edge_asr.errors import BundleError, LanguageModelError
from tests.decoding.toy_lm import WORDS

PARTS = ["A", "AN", "D", "E", "H", "HEN", "N", "T", "TH", "THE", "'T"]


def test_every_word_has_an_id_and_its_spelling(lm: NgramModel) -> None:
    ids = {lm.word_id(word) for word in WORDS}
    assert len(ids) == len(WORDS)
    assert UNKNOWN not in ids
    nodes = np.flatnonzero(lm.trie.word >= 0)
    assert sorted(lm.trie.spelling(int(node)) for node in nodes) == sorted(WORDS)
    for word in ("", "TH", "HANDY", "ñ", "日本"):
        assert lm.word_id(word) == UNKNOWN


def test_probabilities_of_a_context_add_up_like_a_models(lm: NgramModel) -> None:
    score, state = lm.score(lm.begin, lm.word_id("THE"))
    assert score < 0
    assert len(state) == len(lm.begin) == lm.order - 1
    assert lm.score_words([]) == lm.score(lm.begin, 2)[0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["A", "AN", "N", "TH", "E", "THE", "D", "T", "H", "HEN", "'T"]), min_size=1, max_size=5)
)
def test_pieces_walk_as_their_letters_do(lm: NgramModel, parts: list[str]) -> None:
    pieces = ("<blank>", "▁", "▁A", "▁TH", *PARTS)
    lexicon = Lexicon.build(lm.trie, pieces)
    node = 0
    for part in parts:
        node = int(lexicon.step(np.array([node]), np.array([pieces.index(part)]))[0])
    assert node == lm.trie.walk("".join(parts))
    assert lexicon.start[1] == 0
    assert lexicon.start[2] == lm.trie.walk("A")
    assert lexicon.start[4] == OFF


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_or_works(lm_file: Path, folder: Path, data: Any) -> None:
    content = bytearray(lm_file.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "header"]))
    if kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        end = len(content) if kind == "flip" else 600
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    file = folder / f"{data.draw(st.uuids())}.lm"
    file.write_bytes(content)
    try:
        model = NgramModel.load(file)
    except LanguageModelError:
        pass
    else:
        assert np.isfinite(model.score_words(["THE", "HAND", "NOBODY", "DON'T", "AN", "AND"]))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("\\data\\\nngram 1=2\n")
    for name, message in (("missing", "missing"), ("empty", "can't be read"), ("text", "isn't a language-model file")):
        with pytest.raises(LanguageModelError, match=message):
            NgramModel.load(tmp_path / name)
    with pytest.raises(LanguageModelError, match="can't be read"):
        NgramModel.load(tmp_path)
    (tmp_path / "next").write_bytes(MAGIC + np.array([2, 0], "<u4").tobytes())
    with pytest.raises(LanguageModelError, match="'version': is 2, expected 1"):
        NgramModel.load(tmp_path / "next")
    header = b'{"arrays": {"x": [["u8"], 0, 0]}}'
    (tmp_path / "odd").write_bytes(MAGIC + np.array([1, len(header)], "<u4").tobytes() + header)
    with pytest.raises(LanguageModelError, match=r"expected \[type, offset, length\] with a type of"):
        NgramModel.load(tmp_path / "odd")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("order", lambda header, arrays: header.update(order=9)),
        ("format", lambda header, arrays: header.update(format="other")),
        ("words", lambda header, arrays: header.update(words=7)),
        ("block", lambda header, arrays: header.update(block=0)),
        ("trie_counts", lambda header, arrays: arrays["trie_counts"].__setitem__(0, 0)),
        ("trie_letters", lambda header, arrays: arrays["trie_letters"].__setitem__(1, 255)),
        ("probs_1", lambda header, arrays: arrays["probs_1"].__setitem__(3, np.nan)),
        ("entries_2", lambda header, arrays: arrays["entries_2"].__setitem__(0, 0xFFFFFFFF)),
        ("entries_3", lambda header, arrays: arrays.pop("entries_3")),
        ("child_offsets_1", lambda header, arrays: arrays["child_offsets_1"].__setitem__(0, 9)),
        ("child_offsets_2", lambda header, arrays: arrays["child_offsets_2"].__setitem__(-1, 9)),
        ("child_bases_1", lambda header, arrays: arrays.update(child_bases_1=np.zeros(3, dtype=np.uint16))),
        ("prob_levels_2", lambda header, arrays: arrays["prob_levels_2"].__setitem__(0, np.inf)),
    ],
)
def test_arrays_that_contradict_each_other(lm_file: Path, tmp_path: Path, field: str, change: Any) -> None:
    good = LmFile.open(lm_file)
    header, arrays = dict(good.header), {name: array.copy() for name, array in good.arrays.items()}
    change(header, arrays)
    write_lm_file(tmp_path / "bad.lm", header, arrays)
    with pytest.raises(LanguageModelError) as caught:
        NgramModel.load(tmp_path / "bad.lm")
    assert caught.value.field == field
    assert isinstance(caught.value, BundleError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (LanguageModelError, str(caught.value))


def test_the_header_is_json_that_any_language_reads(lm_file: Path) -> None:
    content = lm_file.read_bytes()
    size = int.from_bytes(content[12:16], "little")
    header = json.loads(content[16 : 16 + size])
    kind, offset, length = header["arrays"]["trie_letters"]
    assert (kind, length, offset % 64) == ("u8", len(NgramModel.load(lm_file).trie), 0)
    assert content[offset : offset + length] == bytes(LmFile.open(lm_file).arrays["trie_letters"])

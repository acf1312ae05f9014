"""scripts/pronounce.py: IPA as phones, which words are added, and a dictionary that is written."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from edge_asr.decoding.hotwords import read_hotwords
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import DataError, MissingExtraError
from edge_asr.training.phones import PHONES, Pronunciations
from export.arpa import read_arpa
from export.lm import convert
from tests.decoding.toy_lm import WORDS, toy_model, write_arpa

SCRIPT = Path(__file__).parents[2] / "scripts" / "pronounce.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pronounce", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("Okˈɑpi", "OW K AA P IY"),
        ("dˈɑktəɹ", "D AA K T ER"),
        ("bˈɜɹd", "B ER D"),
        ("ɡəɹˈAʒ", "G ER EY ZH"),  # the stress mark parts no r from its vowel
        ("fəˈɹɛnzɪk", "F ER EH N Z IH K"),
        ("nˌIntˈin ˈATi fˈɔɹ", "N AY N T IY N EY T IY F AO R"),
        ("ʧˈɜɹʧ, ʤˈʌʤ!", "CH ER CH JH AH JH"),
        ("hˈWs — bˈY", "HH AW S B OY"),
        ("ðə θˈɪŋ", "DH AH TH IH NG"),
        ("", ""),
        ("ˈ…", ""),
    ],
)
def test_ipa_becomes_phones(script: ModuleType, ipa: str, phones: str) -> None:
    assert script.arpabet(ipa) == phones.split()


def test_all_phones_are_arpabet_and_all_of_arpabet_is_there(script: ModuleType) -> None:
    assert set(script.PHONES.values()) == {phone for phone in PHONES if not phone.startswith("▁")}
    for sign, phone in script.PHONES.items():
        assert script.arpabet(sign) == [phone]


@pytest.mark.parametrize("ipa", ["ʁ", "kˈɑ7", "日"])
def test_signs_of_other_languages_are_refused(script: ModuleType, ipa: str) -> None:
    with pytest.raises(DataError, match="is no phone of English"):
        script.arpabet(ipa)


def test_words_that_are_known_are_not_said_again(script: ModuleType) -> None:
    known = Pronunciations({"CAT": [[20, 2, 31]]})
    assert script.lacking(known, ["cat", "CAT'S", "yak", "YAK", "gnu's"]) == ["GNU'S", "YAK"]


def test_entries_and_words_that_can_not_be_said(script: ModuleType) -> None:
    ipa = {"yak": "jˈæk", "...": "", "ñu": "ɲˈu"}
    assert script.entries(["YAK", "...", "ÑU"], ipa.__getitem__) == (["yak Y AE K"], ["...", "ÑU"])


def test_without_hibari_it_says_what_to_install(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[voices\]'"):
        script.rules()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.dict").write_text("the DH AH0\n")
    (tmp_path / "a.jsonl").write_text("{}\n")
    out = tmp_path / "out.dict"
    for broken in (["--words", tmp_path / "a.jsonl"], ["--lm", tmp_path / "a.jsonl"]):
        done = run("--dictionary", tmp_path / "a.dict", *broken, "--out", out)
        assert done.returncode == 2
        assert "a.jsonl" in done.stderr
    assert not out.exists()


def test_hotwords_get_the_pronunciations_that_they_need(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.dict").write_text("the DH AH0\n")
    convert(read_arpa(write_arpa(tmp_path / "a.arpa")), tmp_path / "a.lm", Pronunciations.read(tmp_path / "a.dict"))
    ipa = {"yak": "jˈæk", "gnu": "nˈu", "nu": "ɲˈu"}
    lines = ["# beasts", "", "the yak", "Gnu\t-2 # a small one", "the", "Ñu", "Yak\t1.5\tY AA K"]
    text, left_out = script.say_hotwords("\n".join(lines), NgramModel.load(tmp_path / "a.lm"), ipa.__getitem__)
    assert text.split("\n") == [
        "# beasts",
        "",
        "the yak\t1\t / Y AE K",
        "Gnu\t-2\tN UW  # a small one",
        "the",
        "Ñu",
        "Yak\t1.5\tY AA K",
    ]
    assert left_out == ["NU"]
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    assert [hotword.ways for hotword in read_hotwords(tmp_path / "list.txt")][:2] == [
        ((), ("Y", "AE", "K")),
        (("N", "UW"),),
    ]


@pytest.mark.skipif(find_spec("hibari") is None, reason="needs hibari-tts")
def test_a_list_of_hotwords_is_said(tmp_path: Path) -> None:
    toy_model(tmp_path)
    (tmp_path / "list.txt").write_text("Okapi\n")
    done = run("--hotwords", tmp_path / "list.txt", "--lm", tmp_path / "toy.lm", "--out", tmp_path / "said.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said.txt").read_text() == "Okapi\t1\tOW K AA P IY\n"
    for options in ([], ["--hotwords", tmp_path / "list.txt"]):
        assert (
            "expected --dictionary or --lm; with --hotwords, --lm alone"
            in run(*options, "--out", tmp_path / "x").stderr
        )


@pytest.mark.skipif(find_spec("hibari") is None, reason="needs hibari-tts")
def test_a_dictionary_is_completed(tmp_path: Path) -> None:
    source, out = tmp_path / "a.dict", tmp_path / "out.dict"
    source.write_text(";;; small\nthe DH AH0\nthe(2) DH IY0\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "THE OKAPI'S HEN"}) + "\n")
    toy_model(tmp_path)
    done = run("--dictionary", source, "--words", tmp_path / "a.jsonl", "--lm", tmp_path / "toy.lm", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_text().startswith(source.read_text())
    said = Pronunciations.read(out)
    assert set(said.words) == {*WORDS, "OKAPI'S"}
    assert [PHONES[phone - 1] for phone in said.words["HEN"][0]] == ["HH", "EH", "N"]
    again = run("--dictionary", out, "--words", tmp_path / "a.jsonl", "--out", tmp_path / "same.dict")
    assert "of 3 asked for 0 are not" in again.stdout
    assert Pronunciations.read(tmp_path / "same.dict").words == said.words


def test_a_language_model_s_pronunciations_are_written_down(tmp_path: Path) -> None:
    source, out = tmp_path / "a.dict", tmp_path / "out.dict"
    source.write_text("the DH AH0\nthe(2) DH IY0\nsea S IY1\nsee S IY1\n")
    words = ("THE", "SEA", "SEE", "YAK")
    arpa = read_arpa(write_arpa(tmp_path / "a.arpa", words=words))
    convert(arpa, tmp_path / "a.lm", Pronunciations.read(source))
    done = run("--lm", tmp_path / "a.lm", "--out", out)
    assert done.returncode == 0, done.stderr
    assert Pronunciations.read(out).words == Pronunciations.read(source).words
    convert(arpa, tmp_path / "mute.lm")
    done = run("--lm", tmp_path / "mute.lm", "--out", tmp_path / "none.dict")
    assert done.returncode == 2
    assert "has no pronunciations" in done.stderr
    assert not (tmp_path / "none.dict").exists()

"""Adds words that a pronouncing dictionary lacks, said by the rules of a speech synthesiser.

    python scripts/pronounce.py --dictionary cmudict.dict --words TRAIN/*.jsonl --lm en.lm --out full.dict

The dictionary is in CMUdict's format and is copied as it is. Added are words of the transcripts (`text`) of manifests
and of a language model's vocabulary, possessives of known words left out: these are said by rule anyway. What says them
are hibari-tts' rules (pip install '.[voices]'; Apache-2.0).

    python scripts/pronounce.py --lm en.lm --out own.dict

writes down the pronunciations that a language model has, for training on the same ones; with --words, others too. And

    python scripts/pronounce.py --hotwords names.txt --lm en.lm --out names-said.txt

writes a list of hotwords with the pronunciations of the words that the language model has none for.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from edge_asr.decoding.hotwords import read_hotword, read_hotwords
from edge_asr.decoding.lexicon import SPECIALS
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.tokens import WORD_START
from edge_asr.errors import DataError, EdgeAsrError, MissingExtraError
from edge_asr.training.data.coverage import count_words
from edge_asr.training.phones import Pronunciations

# misaki's alphabet: IPA in which capital letters are the diphthongs of English.
_SIGNS = (
    "ɜɹ=ER əɹ=ER A=EY I=AY W=AW O=OW Y=OY ɑ=AA ɒ=AA a=AA ɔ=AO æ=AE ɛ=EH e=EY i=IY ɪ=IH ᵻ=IH u=UW ʊ=UH ʌ=AH ə=AH "
    "ᵊ=AH ɐ=AH ɜ=ER o=OW ɹ=R ʧ=CH ʤ=JH ð=DH θ=TH ʃ=SH ʒ=ZH ŋ=NG j=Y h=HH ç=HH x=K ʔ=T ɾ=T T=T ɡ=G b=B d=D f=F k=K "
    "l=L m=M n=N p=P s=S t=T v=V w=W z=Z"
)
PHONES = dict(sign.split("=") for sign in _SIGNS.split())
TAB = "\t"
SILENT = re.compile(r"[ˈˌː\s.,;:!?'\"“”()—…-]")
_SIGN = re.compile("|".join(sorted(PHONES, key=len, reverse=True)))


def arpabet(ipa: str) -> list[str]:
    """Gives the phones, without stress, of a text in misaki's IPA.

    Raises:
        DataError: For a sign that stands for no phone of English.

    Example:
        >>> arpabet("Okˈɑpi"), arpabet("dˈɑktəɹ")
        (['OW', 'K', 'AA', 'P', 'IY'], ['D', 'AA', 'K', 'T', 'ER'])
    """
    plain = SILENT.sub("", ipa)
    foreign = _SIGN.sub("", plain)
    if foreign:
        raise DataError(f"{ipa!r}: the sign {foreign[0]!r} is no phone of English")
    return [PHONES[sign] for sign in _SIGN.findall(plain)]


def lacking(known: Pronunciations, words: Iterable[str]) -> list[str]:
    """The words, sorted and in upper case, that have no pronunciation."""
    return sorted(word for word in {word.upper() for word in words} if known.encode(word) is None)


def entries(words: Iterable[str], say: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Lines of a dictionary.

    Args:
        words: Words in upper case.
        say: Gives a word's IPA.

    Returns:
        The lines, and the words that can't be said.
    """
    lines, left_out = [], []
    for word in words:
        try:
            phones = arpabet(say(word.lower()))
        except DataError:
            phones = []
        if phones:
            lines.append(f"{word.lower()} {' '.join(phones)}")
        else:
            left_out.append(word)
    return lines, left_out


def spoken(lm: NgramModel) -> list[str]:
    """Lines of a dictionary: the pronunciations of a language model.

    Raises:
        DataError: If it has none.
    """
    if lm.phones is None:
        raise DataError("the language model has no pronunciations: make it with --pronunciations, or give --dictionary")
    names, lines = lm.phones.names, []
    for word, ways in lm.phones.pronunciations().items():
        for number, way in enumerate(ways, start=1):
            name = lm.spelling(word).lower() + (f"({number})" if number > 1 else "")
            lines.append(f"{name} {' '.join(names[phone].removeprefix(WORD_START) for phone in way)}")
    return lines


def rules() -> Callable[[str], str]:
    """hibari's rules; MissingExtraError without hibari."""
    try:
        from hibari import Hibari
    except ImportError as error:
        raise MissingExtraError("pronunciations need hibari-tts: pip install '.[voices]'") from error
    voice = Hibari(threads=1)
    return lambda word: " ".join(voice.phonemize(word))


def pronounce(args: argparse.Namespace, console: Console) -> None:
    """Reads, says and writes."""
    lm, words = NgramModel.load(args.lm) if args.lm else None, set(count_words(args.words))
    if args.dictionary is not None:
        known, text = Pronunciations.read(args.dictionary), args.dictionary.read_text(encoding="utf-8").rstrip("\n")
        if lm is not None:
            words.update(lm.spelling(word) for word in range(SPECIALS, len(lm.unigrams())))
    else:
        assert lm is not None
        text = "\n".join([f";;; The pronunciations of {args.lm.name}.", *spoken(lm)])
        known = Pronunciations.parse(text, str(args.lm))
    missing = lacking(known, words)
    console.print(f"{len(known.words):,} words are known; of {len(words):,} asked for {len(missing):,} are not")
    lines, left_out = entries(track(missing, "words", console=console), rules()) if missing else ([], [])
    remark = [";;; From here on: by the rules of hibari-tts (Apache-2.0)."] if lines else []
    write(args.out, "\n".join([text, *remark, *lines, ""]))
    if left_out:
        console.print(f"left out, no word to say: {' '.join(left_out[:20])}{' …' if len(left_out) > 20 else ''}")
    console.print(f"wrote {args.out}: {len(lines):,} words added")


def say_hotwords(text: str, lm: NgramModel, say: Callable[[str], str]) -> tuple[str, list[str]]:
    """Adds a pronunciation where a phrase has a word that the language model can't say.

    Args:
        text: A list of hotwords, as ``edge_asr.decoding.hotwords.read_hotwords`` takes it; what it says stays.
        lm: The language model.
        say: Gives a word's IPA.

    Returns:
        The list, and the words that can't be said.

    Raises:
        OptionError: A line is malformed.
    """
    lines, left_out = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        given, sign, remark = line.partition("#")
        hotword = read_hotword(given, number)
        if hotword is None or hotword.said:
            lines.append(line)
            continue
        words = hotword.phrase.split()
        unknown = [w for w in words if lm.phones is None or not lm.phones.say(lm.word_id(w))]
        said = dict(line.upper().split(" ", 1) for line in entries(unknown, say)[0])
        left_out += [w for w in unknown if w not in said]
        if said:
            column = " / ".join(said.get(w, "") for w in words)
            given = f"{given.partition(TAB)[0].strip()}{TAB}{hotword.boost:g}{TAB}{column}" + "  "[: 2 * len(sign)]
        lines.append(given + sign + remark)
    return "\n".join(lines), left_out


def pronounce_hotwords(args: argparse.Namespace, console: Console) -> None:
    """Reads, says and writes a list of hotwords."""
    read_hotwords(args.hotwords)
    text = args.hotwords.read_text(encoding="utf-8-sig")
    said, left_out = say_hotwords(text, NgramModel.load(args.lm), rules())
    write(args.out, said)
    if left_out:
        console.print(f"left out, no word to say: {' '.join(left_out)}")
    console.print(f"wrote {args.out}")


def write(path: Path, text: str) -> None:
    """Writes a file in one step; DataError if it can't be."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise DataError(f"--out {str(path)!r} can't be written: {error}") from error


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dictionary", type=Path, help="in CMUdict's format")
    parser.add_argument("--hotwords", type=Path, help="instead: say a list of hotwords")
    parser.add_argument("--words", type=Path, nargs="*", default=[], help="manifests (.jsonl)")
    parser.add_argument("--lm", type=Path, help="language-model file")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    args = parser.parse_args()
    if (args.dictionary and args.hotwords) or (not args.dictionary and not args.lm):
        parser.error("expected --dictionary or --lm; with --hotwords, --lm alone")
    try:
        (pronounce_hotwords if args.hotwords else pronounce)(args, Console(highlight=False))
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

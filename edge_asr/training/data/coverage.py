"""Which sentences to have read aloud, so that the recordings' vocabulary grows most."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_asr.errors import DataError

WORD = re.compile(r"[A-Z]+(?:'[A-Z]+)*")  # apostrophes at its ends may be quotation marks
LENGTHS = range(4, 36)  # words a sentence
ROUNDS = 12  # how often rarity is reckoned anew while sentences are chosen


def count_words(manifests: Sequence[Path]) -> Counter[str]:
    """How often each word is in the transcripts (``text``) of ``.jsonl`` manifests; DataError where one is broken."""
    counts = Counter[str]()
    for manifest in manifests:
        try:
            for line in manifest.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    counts.update(json.loads(line)["text"].split())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"manifest {str(manifest)!r} cannot be read: {error}") from error
    return counts


def read_sentences(path: Path) -> list[list[str]]:
    """The words, in upper case, of a text with one sentence a line.

    Kept are sentences of 4 to 35 words that all occur at least twice in the text.

    Args:
        path: UTF-8 text, ``.gz`` too.

    Raises:
        DataError: the file cannot be read, or holds no such sentence.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        sentences = [WORD.findall(line.upper()) for line in data.decode("utf-8").splitlines()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"text {str(path)!r} cannot be read: {error}") from error
    counts = Counter(word for words in sentences for word in words)
    kept = [words for words in sentences if len(words) in LENGTHS and all(counts[word] > 1 for word in words)]
    if not kept:
        wanted = f"{LENGTHS.start} to {LENGTHS.stop - 1} words, each twice in the text"
        raise DataError(f"text {str(path)!r} holds no sentence of {wanted}")
    return kept


def choose(sentences: Sequence[list[str]], known: Counter[str], words: int) -> list[list[str]]:
    """The sentences whose words are the rarest on average, so many words in all or a little more.

    A word that was seen n times counts 1 / (n + 1). After each of twelve rounds the words of the sentences chosen so
    far are seen too.

    Args:
        sentences: to choose from.
        known: how often each word is in the recordings; what is chosen is added to it.
        words: how many to stop at; all sentences are returned if they hold fewer.

    Example:
        >>> known = Counter({"A": 9, "CAT": 4})
        >>> choose([["A", "CAT"], ["A", "YAK"]], known, words=2)
        [['A', 'YAK']]
        >>> known["YAK"]
        1
    """
    left, chosen, taken = list(sentences), list[list[str]](), 0
    for done in range(1, ROUNDS + 1):
        score = [sum(1 / (1 + known[word]) for word in sentence) / len(sentence) for sentence in left]
        order = np.argsort(score)[::-1]
        place = 0
        while taken < words * done / ROUNDS and place < len(order):
            sentence = left[order[place]]
            known.update(sentence)
            chosen.append(sentence)
            taken += len(sentence)
            place += 1
        left = [left[i] for i in order[place:]]
    return chosen

"""A small n-gram model with made-up probabilities, as an ARPA file."""

from __future__ import annotations

import random
from pathlib import Path

from edge_asr.decoding.ngram import NgramModel
from export.arpa import read_arpa
from export.lm import convert

WORDS = ("A", "AN", "AND", "ANT", "TAN", "NAT", "THE", "THEN", "HEN", "DON'T", "HAND", "TEN", "NET")


def write_arpa(path: Path, order: int = 3, seed: int = 0, words: tuple[str, ...] = WORDS) -> Path:
    """Writes a model in which every context of an n-gram is an n-gram too, as in real ones."""
    chance = random.Random(seed)
    levels = [tuple((word,) for word in ("<unk>", "<s>", "</s>", *words))]
    for _ in range(1, order):
        grown = [(*gram, word) for gram in levels[-1] for word in (*words, "</s>") if "</s>" not in gram[-1:]]
        seen = set(levels[-1])
        grown = [g for g in grown if (g[0] != "<unk>" and g[1:] in seen) or (len(g) == 2 and g[0] != "<unk>")]
        levels.append(tuple(chance.sample(grown, min(len(grown), 60))))
    lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(levels, start=1)), ""]
    for n, grams in enumerate(levels, start=1):
        lines.append(f"\\{n}-grams:")
        for gram in grams:
            backoff = f"\t{-chance.random():.4f}" if n < order and gram[-1] != "</s>" else ""
            lines.append(f"{-0.5 - 2 * chance.random():.4f}\t{' '.join(gram)}{backoff}")
        lines.append("")
    path.write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")
    return path


def toy_model(folder: Path, order: int = 3, words: tuple[str, ...] = WORDS) -> NgramModel:
    """The same, converted and loaded."""
    convert(read_arpa(write_arpa(folder / "toy.arpa", order, words=words)), folder / "toy.lm")
    return NgramModel.load(folder / "toy.lm")

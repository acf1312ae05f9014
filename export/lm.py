"""``python -m export lm --arpa FILE --out FILE``: an ARPA file becomes one compact file that devices map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from edge_asr.bundle.bundle import Bundle
from edge_asr.decoding.lexicon import SPECIALS
from edge_asr.decoding.lm_file import write_lm_file
from edge_asr.decoding.ngram import FORMAT, MAX_ORDER, MIN_BACKOFF_BITS, SPECIAL_WORDS, NgramModel
from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.training.phones import TABLE, VARIANTS, Pronunciations
from export.arpa import Arpa, Order, read_arpa
from export.bundle_lm import add_to_bundle, counts_of, describe
from export.tries import build_trie, in_capitals, phone_arrays

BLOCKS = (256, 64, 16, 4, 1)

Ints = npt.NDArray[np.int64]


def convert(
    arpa: Arpa, out: Path, pronunciations: Pronunciations | None = None, variants: int = VARIANTS
) -> dict[str, Any]:
    """Writes a language-model file. Its words are in capitals, as models spell.

    Args:
        arpa: The model. Unigrams are kept exactly, and so are other values if there are at most 256 (128).
        out: The file.
        pronunciations: How its words are said; without, the file has no trie of phones.
        variants: How many of a word's pronunciations are kept.

    Returns:
        The header that was written; ``steps`` holds the largest error of each quantiser, ``pronounced`` says how
        many words have a pronunciation.

    Raises:
        DataError: For a model that the format can't hold, or with words that differ in case alone.
        OptionError: For fewer than one variant.
    """
    order = len(arpa.orders)
    if order > MAX_ORDER:
        raise DataError(f"the model is of order {order}; allowed: 1 to {MAX_ORDER}")
    vocabulary = in_capitals(arpa.vocabulary)
    ids, letters, counts = build_trie(vocabulary)
    words = len(set(vocabulary) - set(SPECIAL_WORDS)) + SPECIALS
    shift = 32 - max(1, (words - 1).bit_length())
    prob_bits = min(8, shift - MIN_BACKOFF_BITS)
    backoff_bits = min(8, shift - prob_bits)
    if prob_bits < 4:
        raise DataError(f"the model has {words} words; at most {1 << 24} fit")
    arrays: dict[str, npt.NDArray[Any]] = {"trie_letters": letters, "trie_counts": counts}
    steps: dict[str, float] = {}

    def quantised(name: str, values: npt.NDArray[np.float32], bits: int) -> Ints:
        levels = quantiser(values, 1 << bits)
        arrays[name] = levels
        codes = nearest(levels, values)
        steps[name] = float(np.abs(levels[codes] - values).max(initial=0.0))
        return codes

    unigrams = arpa.orders[0]
    place = np.full(words, -1, dtype=np.int64)
    place[ids] = np.arange(len(ids))
    missing = place < 0
    if missing.any():
        raise DataError(
            f"the model lacks {', '.join(name for name, gone in zip(SPECIAL_WORDS, missing, strict=False) if gone)}"
        )
    arrays["probs_1"], arrays["backoffs_1"] = unigrams.probs[place], unigrams.backoffs[place]
    parents: list[tuple[Ints, Ints]] = []  # of each order, the child counts' owners
    keys = np.arange(words)
    sizes = [words]
    entries = {}
    for n, grams in enumerate(arpa.orders[1:], start=2):
        rank, context, word = _ranked(grams, ids, words, [keys] if n == 2 else parents_keys(parents, keys), n)
        probs, backoffs = grams.probs[rank], grams.backoffs[rank]
        packed = word << shift | quantised(f"prob_levels_{n}", probs, prob_bits)
        if n < order:
            packed |= quantised(f"backoff_levels_{n}", backoffs, backoff_bits) << prob_bits
        entries[n] = packed.astype(np.uint32)
        starts = np.searchsorted(context, np.arange(sizes[-1] + 1))
        parents.append((starts, context * words + word))
        sizes.append(len(packed))
    block = _block([starts for starts, _ in parents])
    for n, (starts, _) in enumerate(parents, start=1):
        bases = starts[::block]
        arrays[f"child_bases_{n}"] = bases.astype(np.uint32)
        arrays[f"child_offsets_{n}"] = (starts - np.repeat(bases, block)[: len(starts)]).astype(np.uint16)
        arrays[f"entries_{n + 1}"] = entries[n + 1]
    header: dict[str, Any] = {"format": FORMAT, "order": order, "words": words, "block": block, "counts": sizes}
    header["steps"] = steps
    if pronunciations is not None:
        plain = ((int(ids[i]), word) for i, word in enumerate(vocabulary) if word not in SPECIAL_WORDS)
        ways = {place: said for place, word in plain if (said := pronunciations.say(word, variants))}
        header |= {"phones": TABLE, "pronounced": len(ways)}
        arrays |= phone_arrays(ways, arrays["probs_1"])
    write_lm_file(out, header, arrays)
    NgramModel.load(out)
    return header


def parents_keys(parents: list[tuple[Ints, Ints]], keys: Ints) -> list[Ints]:
    """Sorted keys of each order so far: the words, then ``context entry * words + word``."""
    return [keys, *(key for _, key in parents)]


def _ranked(grams: Order, ids: Ints, words: int, keys: list[Ints], n: int) -> tuple[Ints, Ints, Ints]:
    """Sorts n-grams by context entry and word: (their rows, context entries, words)."""
    spelled = ids[grams.words]
    context = spelled[:, 0]
    for column in range(1, n - 1):
        key = context * words + spelled[:, column]
        context = np.searchsorted(keys[column], key)
        if (context == len(keys[column])).any() or (keys[column][context] != key).any():
            raise DataError(f"a {n}-gram's context isn't among the {column + 1}-grams")
    key = context * words + spelled[:, -1]
    rank = np.argsort(key, kind="stable")
    if (np.diff(key[rank]) == 0).any():
        raise DataError(f"a {n}-gram is there twice")
    return rank, context[rank], spelled[rank, -1]


def _block(all_starts: list[Ints]) -> int:
    """The largest block whose offsets fit 16 bits."""
    for block in BLOCKS:
        if all((s - np.repeat(s[::block], block)[: len(s)]).max() < 1 << 16 for s in all_starts):
            return block
    raise AssertionError("a block of one entry has offset 0")


def quantiser(values: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """Chooses at most ``most`` levels: the values themselves if they are few, else by Lloyd's method; 0 stays 0."""
    distinct, weights = np.unique(values, return_counts=True)
    if len(distinct) <= most:
        return distinct.astype(np.float32)
    ranks = np.cumsum(np.sqrt(weights))  # between equal mass and equal width
    edges = np.searchsorted(ranks, np.linspace(0, ranks[-1], most + 1)[1:-1])
    levels = np.array([part.mean() for part in np.split(distinct, np.unique(edges)) if len(part)])
    for _ in range(30):
        owner = nearest(levels, distinct)
        mass = np.bincount(owner, weights, len(levels))
        moved = np.bincount(owner, weights * distinct, len(levels)) / np.maximum(mass, 1e-9)
        levels = np.unique(np.where(mass > 0, moved, levels))
    if distinct[0] <= 0.0 <= distinct[-1]:
        levels[np.abs(levels).argmin()] = 0.0
    return np.unique(levels).astype(np.float32)


def nearest(levels: npt.NDArray[Any], values: npt.NDArray[Any]) -> Ints:
    """The index of the level nearest to each value."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.int64)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m export lm", description=__doc__)
    parser.add_argument("--arpa", type=Path, required=True, help="ARPA file, plain, .xz or .gz")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, help="the file to write")
    target.add_argument("--bundle", type=Path, help="write DIR/LANGUAGE.lm and list it in DIR/bundle.json")
    parser.add_argument("--pronunciations", type=Path, metavar="DICT", help="dictionary in CMUdict's format")
    parser.add_argument(
        "--variants", type=int, default=VARIANTS, metavar="N", help="of them at most N a word (default: %(default)s)"
    )
    parser.add_argument("--about", default="", help="for the model card: text, its source and its licence")
    args = parser.parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    try:
        out = args.out or args.bundle / f"{Bundle.load(args.bundle).spec.language}.lm"
        if not out.parent.is_dir():
            raise DataError(f"--out {str(out)!r}: there is no directory {str(out.parent)!r}")
        said = Pronunciations.read(args.pronunciations) if args.pronunciations else None
        header = convert(read_arpa(args.arpa), out, said, args.variants)
        counts = counts_of(header["counts"])
        if args.bundle:
            add_to_bundle(out, args.bundle)
            describe(args.bundle, out, counts, args.about)
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    console.print(f"wrote {out}: {out.stat().st_size / 1e6:.2f} MB, {counts}")
    if "pronounced" in header:
        words = header["words"] - SPECIALS
        share = header["pronounced"] / max(1, words)
        console.print(f"pronunciations of {header['pronounced']:,} of {words:,} words ({share:.1%})")
    worst = ", ".join(f"{name} {step:.4f}" for name, step in header["steps"].items())
    console.print(f"largest error of each quantiser (log10): {worst}")
    return 0

"""ARPA files: n-gram models as text, plain or compressed with xz or gzip."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.errors import DataError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """All n-grams of one order, in the file's order.

    Attributes:
        words: (N, n) indices into the file's unigrams.
        probs: (N,) log10 probabilities.
        backoffs: (N,) log10 back-offs; 0 where the file has none.
    """

    words: npt.NDArray[np.int64]
    probs: Floats
    backoffs: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Arpa:
    """A parsed file: its vocabulary (the unigrams, in order) and its orders from 1."""

    vocabulary: tuple[str, ...]
    orders: tuple[Order, ...]


def read_arpa(path: Path) -> Arpa:
    """Reads a file.

    Raises:
        DataError: If it can't be read, isn't ARPA, is cut off, or a line is malformed; says which.
    """
    opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return _parse(path, ((number, line.rstrip("\n")) for number, line in enumerate(file, start=1)))
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _parse(path: Path, lines: Iterator[tuple[int, str]]) -> Arpa:
    counts: list[int] = []
    number, line = 0, ""
    for number, line in lines:
        if line.startswith("ngram "):
            order, _, count = line[6:].partition("=")
            if not count.strip().isdecimal() or order.strip() != str(len(counts) + 1):
                raise DataError(f"{path}:{number}: expected 'ngram {len(counts) + 1}=COUNT', got {line!r}")
            counts.append(int(count))
        elif line.startswith("\\1-grams:"):
            break
    if not counts or not line.startswith("\\1-grams:"):
        raise DataError(f"{path}: isn't an ARPA file: no \\data\\ with counts, or no \\1-grams:")
    vocabulary: dict[str, int] = {}
    orders = []
    for n, size in enumerate(counts, start=1):
        if n > 1:
            number, line = next(((i, text) for i, text in lines if text.strip()), (number, ""))
            if line.strip() != f"\\{n}-grams:":
                raise DataError(f"{path}:{number}: expected \\{n}-grams:, got {line!r}")
        orders.append(_section(path, lines, n, size, vocabulary))
    if next((text for _, text in lines if text.strip()), "") != "\\end\\":
        raise DataError(f"{path}: is cut off: no \\end\\")
    return Arpa(tuple(vocabulary), tuple(orders))


def _section(path: Path, lines: Iterator[tuple[int, str]], n: int, count: int, vocabulary: dict[str, int]) -> Order:
    words = np.empty((count, n), dtype=np.int64)
    probs, backoffs = np.empty(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    for row in range(count):
        number, line = next(lines, (0, ""))
        fields = line.split()
        try:
            if len(fields) not in (n + 1, n + 2):
                raise ValueError(f"expected {n} words between one and two numbers")
            if n == 1:
                if vocabulary.setdefault(fields[1], row) != row:
                    raise ValueError("a word that was there before")
                words[row, 0] = row
            else:
                words[row] = [vocabulary[word] for word in fields[1 : n + 1]]
            probs[row] = float(fields[0])
            if len(fields) == n + 2:
                backoffs[row] = float(fields[-1])
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}:{number}: {n}-gram {row + 1} of {count}: {line[:80]!r}: {error}") from error
    if not (np.isfinite(probs).all() and np.isfinite(backoffs).all()):
        raise DataError(f"{path}: a {n}-gram's probability or back-off isn't finite")
    return Order(words, probs, backoffs)

"""The token table: ids to pieces, and pieces to text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_asr.errors import BundleError

WORD_START = "▁"
BLANK = "<blank>"


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Pieces by id. A piece that begins with ``▁`` begins a word.

    Attributes:
        pieces: The pieces; the id is the index.

    Example:
        >>> TokenTable((BLANK, "▁HE", "LLO", "▁YOU")).text([1, 2, 3])
        'HELLO YOU'
    """

    pieces: tuple[str, ...]

    @classmethod
    def load(cls, path: str | Path, size: int, blank: int = 0) -> TokenTable:
        """Reads a table: UTF-8, one piece a line, the line number from 0 is the id.

        Args:
            path: The file.
            size: How many tokens it must hold.
            blank: The id at which ``<blank>`` must stand.

        Raises:
            BundleError: If the file is missing, isn't UTF-8, has another size, an empty line or no blank.
        """
        try:
            text = Path(path).read_bytes().decode()
        except FileNotFoundError:
            raise BundleError("missing", file=path) from None
        except OSError as error:
            raise BundleError(f"can't be read: {error.strerror or error}", file=path) from error
        except UnicodeDecodeError as error:
            raise BundleError(f"isn't UTF-8: {error}", file=path) from error
        pieces = tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
        if len(pieces) != size:
            raise BundleError(f"has {len(pieces)} lines, expected tokens.size, {size}", file=path)
        for number, piece in enumerate(pieces):
            if not piece:
                raise BundleError("is empty, expected a piece", file=path, field=f"line {number}")
        if pieces[blank] != BLANK:
            raise BundleError(f"is {pieces[blank]!r}, expected {BLANK!r}", file=path, field=f"line {blank}")
        return cls(pieces)

    def join(self, ids: Iterable[int]) -> str:
        """Joins pieces with a space before each word; a text that begins a word begins with a space."""
        return "".join(self.pieces[i] for i in ids).replace(WORD_START, " ")

    def text(self, ids: Iterable[int]) -> str:
        """Gives the words of a sequence of ids (no blanks), with one space between them."""
        return " ".join(self.join(ids).split())

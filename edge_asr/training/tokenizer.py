"""The tokeniser: sentencepiece unigram pieces over upper-case text, with CTC's blank as token 0."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import sentencepiece as spm

from edge_asr.errors import DataError

BLANK = "<blank>"


class Tokenizer:
    """Text ↔ token ids. Id 0 is blank; in sentencepiece's own model the unknown piece holds it, which never occurs.

    Example:
        >>> tokenizer = Tokenizer.train(["HELLO WORLD", "IT'S ME"] * 50, 24)
        >>> tokenizer.decode(tokenizer.encode("HELLO ME"))
        'HELLO ME'
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self._processor = spm.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """Trains a unigram model with ``size`` tokens, blank included."""
        out = BytesIO()
        try:
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=out,
                vocab_size=size,
                model_type="unigram",
                character_coverage=1.0,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                hard_vocab_limit=True,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"tokeniser of {size} tokens cannot be trained on this text: {error}") from error
        return cls(out.getvalue())

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Reads a sentencepiece model file."""
        return cls(path.read_bytes())

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Ids of a text; DataError where a character is unknown to the model."""
        ids: list[int] = self._processor.encode(text)
        if 0 in ids:
            raise DataError(
                f"text {text!r} has a character that the tokeniser does not know; allowed: A-Z, apostrophe, space"
            )
        return ids

    def decode(self, ids: list[int]) -> str:
        """Text of ids without blanks."""
        return "".join(self.pieces()[i] for i in ids).replace("▁", " ").strip()

    def pieces(self) -> list[str]:
        """All pieces in order of their ids, blank first."""
        return [BLANK, *(self._processor.id_to_piece(i) for i in range(1, len(self)))]

"""Word error rate of every exit during training, by decoding of the parallel forward: greedily, or by a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rapidfuzz.distance import Levenshtein

from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.tokenizer import Tokenizer

Read = Callable[[torch.Tensor], str]
"""Makes text of an utterance's (T, V + P) log-probabilities."""


def greedy_texts(log_probs: torch.Tensor, lengths: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """Best-path decoding (repeats merged, blanks removed) of (B, T, V) log-probabilities of word pieces."""
    texts = []
    for ids, length in zip(log_probs.argmax(dim=-1), lengths, strict=True):
        path = torch.unique_consecutive(ids[:length])
        texts.append(tokenizer.decode([int(i) for i in path if i != 0]))
    return texts


@dataclass(frozen=True, slots=True)
class Score:
    """Word errors of every exit.

    Attributes:
        words: (U) words in the reference of each utterance.
        errors: (E, U) substitutions, insertions and deletions; a single row where only the last exit was read.

    Example:
        >>> Score([2, 2], [[1, 2], [0, 1]]).wers
        [0.75, 0.25]
    """

    words: list[int]
    errors: list[list[int]]

    @property
    def wers(self) -> list[float]:
        """WER of each exit, as fractions."""
        return [sum(counts) / max(1, sum(self.words)) for counts in self.errors]


@torch.inference_mode()
def score_exits(
    model: AsrModel,
    batches: list[Batch],
    tokenizer: Tokenizer,
    *,
    chunk: int | None = 16,
    look_ahead: int = 8,
    read: Read | None = None,
) -> Score:
    """Scores each exit over batches.

    Args:
        model: in evaluation mode.
        batches: what is said, and by how many frames.
        tokenizer: the model's.
        chunk: frames in a chunk; None for whole utterances.
        look_ahead: frames beyond it that the trunk sees.
        read: reads the last exit, and no other; None: word pieces of all exits, greedily.
    """
    device = next(model.parameters()).device
    score = Score([], [[] for _ in range(1 if read else model.config.exits)])
    for batch in batches:
        log_probs = model.from_mels(batch.mels.to(device), batch.lengths.to(device), chunk=chunk, look_ahead=look_ahead)
        references = [text.split() for text in batch.texts]
        score.words.extend(map(len, references))
        for counts, part in zip(score.errors, log_probs.cpu()[-len(score.errors) :], strict=True):
            if read is None:
                texts = greedy_texts(part[..., : model.config.vocabulary], batch.lengths, tokenizer)
            else:
                texts = [read(row[:length]) for row, length in zip(part, batch.lengths.tolist(), strict=True)]
            counts += [Levenshtein.distance(r, t.split()) for r, t in zip(references, texts, strict=True)]
    return score

"""Word error rate of every exit during training, by greedy decoding of the parallel forward."""

from __future__ import annotations

import jiwer
import torch

from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.tokenizer import Tokenizer


def greedy_texts(log_probs: torch.Tensor, lengths: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """Best-path decoding (repeats merged, blanks removed) of (B, T, V) log-probabilities."""
    texts = []
    for ids, length in zip(log_probs.argmax(dim=-1), lengths, strict=True):
        path = torch.unique_consecutive(ids[:length])
        texts.append(tokenizer.decode([int(i) for i in path if i != 0]))
    return texts


@torch.inference_mode()
def exit_wers(
    model: AsrModel,
    batches: list[Batch],
    tokenizer: Tokenizer,
    *,
    chunk: int | None = 16,
    look_ahead: int = 8,
) -> list[float]:
    """WER of each exit over batches, as fractions."""
    device = next(model.parameters()).device
    hypotheses: list[list[str]] = [[] for _ in range(model.config.exits)]
    references: list[str] = []
    for batch in batches:
        log_probs = model.from_mels(
            batch.mels.to(device), batch.lengths.to(device), chunk=chunk, look_ahead=look_ahead
        ).cpu()
        references += batch.texts
        for i, part in enumerate(log_probs):
            hypotheses[i] += greedy_texts(part, batch.lengths, tokenizer)
    return [float(jiwer.wer(references, texts)) for texts in hypotheses]

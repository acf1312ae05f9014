"""How probable a text is under an exit's posteriors: the forward variables of CTC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_RESCALE = 8  # frames between rescalings


def text_log_posteriors(
    log_probs: npt.NDArray[np.float32], texts: Sequence[Sequence[int]], blank: int = 0
) -> npt.NDArray[np.float64]:
    """Computes log P(text | audio) of each text, summed over all alignments.

    Source: Graves et al. 2006, forward variables; here as probabilities that are rescaled on the way, all texts at
    once, because a chunk is short and has few tokens.

    Args:
        log_probs: (T, V), T ≥ 1.
        texts: ids without blanks, at least one text; a text may be empty.
        blank: id of the blank.

    Returns:
        (N,) logarithms; -inf where a text doesn't fit in T frames, or comes to less than about 1e-300 in eight of them.

    Example:
        >>> uniform = np.full((2, 2), np.log(0.5), dtype=np.float32)
        >>> np.exp(text_log_posteriors(uniform, [[1], []])).round(2).tolist()
        [0.75, 0.25]
    """
    states = 2 * max(len(text) for text in texts) + 1
    labels = np.full((len(texts), states), blank)
    for row, text in zip(labels, texts, strict=True):
        row[1 : 2 * len(text) : 2] = text
    skip = np.zeros(labels.shape)  # 1 where the blank before may be left out
    skip[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    posteriors = np.exp(log_probs[:, labels].astype(np.float64))  # (T, N, states)
    alpha = np.zeros((len(texts), states + 2))  # two columns of nothing before the first state
    reached = alpha[:, 2:]
    reached[:, :2] = posteriors[0, :, :2]
    log_scale = np.zeros(len(texts))
    for t in range(1, len(posteriors)):
        if t % _RESCALE == 0:
            total = reached.sum(axis=1)
            total[total == 0] = 1.0
            log_scale += np.log(total)
            reached /= total[:, None]
        moved = alpha[:, :-2] * skip
        moved += alpha[:, 1:-1]
        moved += reached
        np.multiply(moved, posteriors[t], out=reached)
    ends = np.array([2 * len(text) for text in texts])
    rows = np.arange(len(texts))
    last = reached[rows, ends] + np.where(ends > 0, reached[rows, ends - 1], 0.0)
    with np.errstate(divide="ignore"):
        found: npt.NDArray[np.float64] = np.log(last) + log_scale
    return found

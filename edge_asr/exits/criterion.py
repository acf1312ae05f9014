"""The registry of criteria by name. A new criterion is one file and one line here."""

from __future__ import annotations

from edge_asr.errors import OptionError
from edge_asr.exits.base import Criterion
from edge_asr.exits.disagreement import Disagreement
from edge_asr.exits.frame_entropy import FrameEntropy
from edge_asr.exits.learned_gate import LearnedGate
from edge_asr.exits.margin import Margin
from edge_asr.exits.max_posterior import MaxPosterior
from edge_asr.exits.nonblank_entropy import NonblankEntropy
from edge_asr.exits.nonblank_margin import NonblankMargin
from edge_asr.exits.nonblank_posterior import NonblankPosterior
from edge_asr.exits.sentence_confidence import SentenceConfidence

CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        FrameEntropy(),
        MaxPosterior(),
        Margin(),
        NonblankEntropy(),
        NonblankPosterior(),
        NonblankMargin(),
        Disagreement(),
        SentenceConfidence(),
        LearnedGate(),
    )
}


def get_criterion(name: str) -> Criterion:
    """Finds a criterion by name.

    Raises:
        OptionError: If there is none; the message names the known ones.

    Example:
        >>> get_criterion("frame_entropy").sure(0.1, 0.2)
        True
    """
    if name not in CRITERIA:
        raise OptionError(f"criterion={name!r}: expected one of {', '.join(CRITERIA)}")
    return CRITERIA[name]


__all__ = ["CRITERIA", "Criterion", "get_criterion"]

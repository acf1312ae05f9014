"""Criteria: value, direction, registry."""

from __future__ import annotations

import pytest

from edge_asr.errors import OptionError
from edge_asr.exits.criterion import CRITERIA, get_criterion
from edge_asr.exits.stats import ExitStats

STATS = ExitStats(entropy=0.3, max_posterior=0.9, margin=0.8, blank=0.6)


@pytest.mark.parametrize(
    ("name", "value", "sure", "unsure"),
    [("frame_entropy", 0.3, 0.31, 0.29), ("max_posterior", 0.9, 0.89, 0.91), ("margin", 0.8, 0.79, 0.81)],
)
def test_values_and_directions(name: str, value: float, sure: float, unsure: float) -> None:
    criterion = get_criterion(name)
    assert criterion.name == name
    assert criterion.value(STATS) == value
    assert criterion.sure(value, sure)
    assert criterion.sure(value, value)
    assert not criterion.sure(value, unsure)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(OptionError, match="criterion='luck': expected one of frame_entropy, max_posterior, margin"):
        get_criterion("luck")
    assert set(CRITERIA) == {"frame_entropy", "max_posterior", "margin"}


def test_stats_keep_the_order_of_the_graphs() -> None:
    assert tuple(STATS) == (0.3, 0.9, 0.8, 0.6)
    assert ExitStats._fields == ("entropy", "max_posterior", "margin", "blank")

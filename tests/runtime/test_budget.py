"""Budgets: what is allowed, and how text becomes one."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from edge_asr.errors import OptionError
from edge_asr.runtime.budget import Budget


def test_limits() -> None:
    assert Budget(rtf=0.2).chunk_limit(0.64) == pytest.approx(0.128)
    assert Budget(rtf=0.2, deadline=0.1).chunk_limit(0.64) == 0.1
    assert Budget(mean_rtf=0.2).chunk_limit(0.64) == math.inf
    assert Budget(max_exit=3).chunk_limit(0.64) == math.inf


def test_text() -> None:
    assert Budget.parse("rtf=0.2") == Budget(rtf=0.2)
    assert Budget.parse(" deadline = 0.1 , max_exit=3,revisit=false") == Budget(deadline=0.1, max_exit=3, revisit=False)
    assert pickle.loads(pickle.dumps(Budget(rtf=1.0))) == Budget(rtf=1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected name=value"),
        ("rtf", "expected name=value with a name of rtf, deadline"),
        ("speed=3", "'speed=3'"),
        ("rtf=fast", "rtf='fast': expected a number"),
        ("rtf=0.1,rtf=0.2", "given twice"),
        ("rtf=0", "rtf=0.0: expected a number above 0"),
        ("rtf=-1", "rtf=-1.0"),
        ("deadline=nan", "deadline=nan"),
        ("mean_rtf=inf", "mean_rtf=inf"),
        ("max_exit=1.5", "max_exit='1.5'"),
        ("max_exit=0", "max_exit=0"),
        ("revisit=true", "no limit given"),
        ("rtf=1,revisit=perhaps", "true or false"),
        ("rtf=1,low_battery=2", "a share from 0 to 1"),
        ("rtf=1,final_delay=-1", "seconds from 0"),
        ("rtf=1,hot=-3", "above 0 °C"),
    ],
)
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Budget.parse(text)


@pytest.mark.parametrize("values", [{"rtf": True}, {"rtf": "0.2"}, {"max_exit": True}])
def test_wrong_values(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="budget"):
        Budget(**values)

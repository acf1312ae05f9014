"""Items made in advance: same order, same errors, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from edge_asr.training.data.prefetch import prefetched


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_order(ahead: int) -> None:
    assert list(prefetched(iter(range(20)), ahead)) == list(range(20))


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_comes_where_its_item_would(ahead: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("third")

    found: list[int] = []
    with pytest.raises(ValueError, match="third"):
        found.extend(prefetched(items(), ahead))
    assert found == [1, 2]


def test_items_are_made_ahead_and_closing_stops() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    running = prefetched(items(), 3)
    assert next(running) == 0
    deadline = time.monotonic() + 10
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) == 5  # one in use, three waiting, one in the thread's hands
    running.close()
    assert len(made) == 5
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]

"""Items made in advance by a thread, while the ones before are in use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_POLL = 0.2  # seconds


def prefetched(items: Iterator[T], ahead: int) -> Generator[T, None, None]:
    """The same items in the same order; up to ``ahead`` of them are made before they are asked for.

    An error while making them is raised where its item would have come. Closing the generator ends the thread.

    Args:
        items: used by the thread alone from now on.
        ahead: 0 makes each item when it is asked for, without a thread.

    Example:
        >>> list(prefetched(iter("abc"), 2))
        ['a', 'b', 'c']
    """
    if ahead == 0:
        yield from items
        return
    made: queue.Queue[tuple[bool, T | Exception | None]] = queue.Queue(ahead)
    closed = threading.Event()

    def put(more: bool, item: T | Exception | None) -> None:
        while not closed.is_set():
            with suppress(queue.Full):
                made.put((more, item), timeout=_POLL)
                return

    def make() -> None:
        try:
            for item in items:
                put(True, item)
                if closed.is_set():
                    return
            put(False, None)
        except Exception as error:
            put(False, error)

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, item = made.get()
            if isinstance(item, Exception) and not more:
                raise item
            if not more:
                return
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()

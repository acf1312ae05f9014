"""Cutting endless audio into pieces that are encoded on their own: where it is silent, or quietest.

Both cutters decide by the samples alone, never by how these were cut into calls, and hold a bounded number of
samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_asr.audio.pcm import Mono


@dataclass(frozen=True, slots=True)
class Part:
    """Samples (N,) to go on with; ``ends`` says that a piece ends after them."""

    pcm: Mono
    ends: bool


class Cutter(Protocol):
    """Passes samples on and says where pieces end."""

    def push(self, pcm: Mono) -> list[Part]:
        """Takes (N,) samples and gives the parts that are settled, in order."""
        ...

    def finish(self) -> list[Part]:
        """Gives what is left at the end of the audio, where the last piece ends; ``ends`` isn't set."""
        ...


class SilenceCutter:
    """Ends a piece in the middle of the first long enough silence after a least length.

    A hop is silent if its mean power is ``drop_db`` below the mean power of the piece so far. In the second
    half of a silence samples are held back until it is long enough for a cut or speech goes on: no other
    delay but the hop.

    Args:
        hop: Samples per hop, the unit of all decisions; pieces are multiples of it.
        least: Hops in a piece before a silence may end it.
        silence: Hops of silence that end a piece; the cut is in its middle.
        drop_db: How much quieter than the piece silence is, in dB.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> loud = rng.standard_normal(100).astype(np.float32)
        >>> cutter = SilenceCutter(hop=10, least=5, silence=4)
        >>> parts = cutter.push(np.concatenate([loud, np.zeros(40, np.float32), loud]))
        >>> [(len(part.pcm), part.ends) for part in parts]
        [(120, True), (120, False)]
    """

    def __init__(self, hop: int, least: int, silence: int, drop_db: float = 20.0) -> None:
        self._hop, self._least, self._silence = hop, least, max(2, silence)
        self._keep = self._silence // 2  # hops of the silence that stay with the piece that ends
        self._factor = 10.0 ** (-drop_db / 10.0)
        self._rest = np.zeros(0, dtype=np.float32)
        self._restart(0)

    def _restart(self, hops: int, power: float = 0.0) -> None:
        self._hops = hops  # seen in this piece, held ones included
        self._power = power  # sum of their mean powers
        self._run = 0  # silent hops just before, once the piece is long enough
        self._run_power = 0.0  # power of those held back

    def push(self, pcm: Mono) -> list[Part]:
        """Takes (N,) samples and gives the parts that are settled, in order."""
        pcm = np.concatenate([self._rest, pcm])
        count = len(pcm) // self._hop
        hops = pcm[: count * self._hop].reshape(count, self._hop)
        powers = _powers(hops)
        parts: list[Part] = []
        start = 0  # of the samples not given yet
        held = max(0, self._run - self._keep)  # hops at the front of `pcm` that were counted before
        for index in range(held, count):
            power = float(powers[index])
            self._hops += 1
            self._power += power
            if self._hops > self._least and power <= self._factor * self._power / self._hops:
                self._run += 1
                if self._run > self._keep:
                    self._run_power += power
            else:
                self._run, self._run_power = 0, 0.0
            if self._run == self._silence:
                after = self._silence - self._keep
                cut = (index + 1 - after) * self._hop
                parts.append(Part(pcm[start:cut], True))
                start = cut
                self._restart(after, self._run_power)
        settled = (count - max(0, self._run - self._keep)) * self._hop
        if settled > start:
            parts.append(Part(pcm[start:settled], False))
        self._rest = pcm[max(settled, start) :].copy()
        return parts

    def finish(self) -> list[Part]:
        """Gives what was held back."""
        rest, self._rest = self._rest, np.zeros(0, dtype=np.float32)
        self._restart(0)
        return [Part(rest, False)] if len(rest) else []


class QuietCutter:
    """Gives whole pieces of bounded length; one that would be longer ends where it is quietest.

    Args:
        hop: Samples per hop; cuts are at multiples of it.
        most: Most samples in a piece.
        quiet: Hops over which quietness is measured; the cut is in their middle.

    Example:
        >>> cutter = QuietCutter(hop=10, most=100, quiet=2)
        >>> pcm = np.ones(150, np.float32); pcm[60:80] = 0
        >>> [len(part.pcm) for part in cutter.push(pcm) + cutter.finish()]
        [70, 80]
    """

    def __init__(self, hop: int, most: int, quiet: int) -> None:
        self._hop, self._most, self._quiet = hop, most, max(1, quiet)
        self._buffer = np.zeros(most + 1, dtype=np.float32)
        self._fill = 0

    def push(self, pcm: Mono) -> list[Part]:
        """Takes (N,) samples and gives the pieces that are complete, each in one part."""
        parts = []
        while len(pcm):
            count = min(len(pcm), len(self._buffer) - self._fill)
            self._buffer[self._fill : self._fill + count] = pcm[:count]
            self._fill += count
            pcm = pcm[count:]
            if self._fill > self._most:
                cut = self._quietest()
                parts.append(Part(self._buffer[:cut].copy(), True))
                rest = self._fill - cut
                self._buffer[:rest] = self._buffer[cut : self._fill].copy()
                self._fill = rest
        return parts

    def _quietest(self) -> int:
        """Finds the middle of the quietest stretch in the last two thirds."""
        count = self._most // self._hop
        hops = self._buffer[: count * self._hop].reshape(count, self._hop)
        total = np.concatenate([[0.0], np.cumsum(_powers(hops))])
        first = min(count // 3, count - self._quiet)
        stretches = total[first + self._quiet :] - total[first : -self._quiet]
        return (first + int(np.argmin(stretches)) + self._quiet // 2) * self._hop

    def finish(self) -> list[Part]:
        """Gives the last piece."""
        rest = self._buffer[: self._fill].copy()
        self._fill = 0
        return [Part(rest, False)] if len(rest) else []


def _powers(hops: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Gives the mean power of each row; a row's sum is always taken in the same order."""
    powers: npt.NDArray[np.float64] = np.square(hops, dtype=np.float64).mean(axis=1)
    return powers

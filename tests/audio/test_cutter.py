"""The cutters: where they cut, that nothing is lost, that calls don't matter, that memory is bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.audio.cutter import Cutter, QuietCutter, SilenceCutter
from edge_asr.audio.pcm import Mono

HOP = 10


def silence_cutter() -> Cutter:
    return SilenceCutter(HOP, least=8, silence=4)


def quiet_cutter() -> Cutter:
    return QuietCutter(HOP, most=300, quiet=4)


def pieces(cutter: Cutter, parts: list[Mono]) -> list[Mono]:
    """Feeds parts and joins what comes to pieces."""
    result: list[list[Mono]] = [[]]
    for part in [*(p for pcm in parts for p in cutter.push(pcm)), *cutter.finish()]:
        result[-1].append(part.pcm)
        if part.ends:
            result.append([])
    return [np.concatenate(piece) if piece else np.zeros(0, np.float32) for piece in result]


def loud(hops: int, seed: int = 0) -> Mono:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, hops * HOP).astype(np.float32)


def still(hops: int, level: float = 0.001) -> Mono:
    return np.full(hops * HOP, level, dtype=np.float32)


def test_cut_is_in_the_middle_of_the_first_long_silence() -> None:
    result = pieces(silence_cutter(), [np.concatenate([loud(10), still(4), loud(10)])])
    assert [len(piece) for piece in result] == [120, 120]


def test_no_cut_before_the_least_length() -> None:
    result = pieces(silence_cutter(), [np.concatenate([loud(2), still(4), loud(10)])])
    assert [len(piece) for piece in result] == [160]


def test_a_silence_at_the_least_length_counts_from_there() -> None:
    result = pieces(silence_cutter(), [np.concatenate([loud(6), still(6), loud(4)])])
    assert [len(piece) for piece in result] == [100, 60]


def test_the_rest_of_a_silence_belongs_to_the_next_piece() -> None:
    for hops, expected in ((6, [120, 100, 60]), (5, [120, 150])):  # two hops of silence came before these
        pcm = np.concatenate([loud(10), still(4), loud(hops), still(4), loud(4)])
        assert [len(piece) for piece in pieces(silence_cutter(), [pcm])] == expected


def test_no_cut_in_a_short_silence() -> None:
    result = pieces(silence_cutter(), [np.concatenate([loud(10), still(3), loud(10), still(3), loud(3)])])
    assert [len(piece) for piece in result] == [290]


@pytest.mark.parametrize("gain", [1e-3, 1.0, 2.0])
def test_silence_is_relative_to_the_piece(gain: float) -> None:
    pcm = np.concatenate([loud(10), still(6, 0.01), loud(10)]) * np.float32(gain)
    assert len(pieces(silence_cutter(), [pcm])) == 2


def test_steady_noise_is_never_cut() -> None:
    assert len(pieces(silence_cutter(), [loud(500)])) == 1


def test_digital_silence_is_cut() -> None:
    result = pieces(silence_cutter(), [still(100, 0.0)])
    assert len(result) > 5
    assert all(len(piece) >= 8 * HOP for piece in result[:-1])


def test_samples_are_held_back_only_in_the_second_half_of_a_silence() -> None:
    cutter = silence_cutter()
    given = 0
    for index, hop in enumerate(np.split(np.concatenate([loud(10), still(3), loud(2)]), 15)):
        given += sum(len(part.pcm) for part in cutter.push(hop))
        assert given == (120 if index == 12 else (index + 1) * HOP)


def test_full_pieces_end_where_it_is_quietest() -> None:
    pcm = np.concatenate([loud(5), still(5, 0.0), loud(10), still(4, 0.02), loud(20)])
    result = pieces(quiet_cutter(), [pcm])
    assert [len(piece) for piece in result] == [220, 220]  # the stretch in the first third doesn't count


@pytest.mark.parametrize("extra", [0, 1, 15])
def test_full_pieces_are_whole_up_to_the_limit(extra: int) -> None:
    pcm = np.concatenate([loud(30), loud(2)[:extra]])
    result = pieces(quiet_cutter(), [pcm])
    assert len(result) == (1 if extra == 0 else 2)
    assert max(len(piece) for piece in result) <= 300


@settings(max_examples=60)
@given(
    st.sampled_from([silence_cutter, quiet_cutter]),
    st.lists(st.tuples(st.booleans(), st.integers(1, 20)), min_size=1, max_size=12),
    st.integers(0, HOP - 1),
    st.lists(st.integers(0, 1_500), max_size=12),
)
def test_calls_do_not_matter_and_nothing_is_lost(
    make: Callable[[], Cutter], stretches: list[tuple[bool, int]], odd: int, cuts: list[int]
) -> None:
    pcm = np.concatenate([loud(n, n) if noisy else still(n) for noisy, n in stretches])
    pcm = np.concatenate([pcm, loud(1)[:odd]])
    whole = pieces(make(), [pcm])
    split = pieces(make(), np.split(pcm, sorted(cuts)))
    assert [len(piece) for piece in split] == [len(piece) for piece in whole]
    np.testing.assert_array_equal(np.concatenate(split), pcm)
    assert all(len(piece) % HOP == 0 for piece in whole[:-1])


@pytest.mark.parametrize("make", [silence_cutter, quiet_cutter])
def test_a_cutter_holds_a_bounded_number_of_samples(make: Callable[[], Cutter]) -> None:
    cutter = make()
    held = 0
    for index in range(300):
        pcm = loud(3) if index % 20 < 17 else still(3)
        held += len(pcm) - sum(len(part.pcm) for part in cutter.push(pcm))
        assert held <= 300

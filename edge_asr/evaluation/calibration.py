"""Calibration: what the exits say on a development set becomes thresholds for a wanted loss or a wanted cost.

Half of the utterances shape the path of thresholds (and train a gate), the other half judges its points: bounds
are of utterances that the thresholds weren't fitted on. Every number is exact for its utterances, because each
policy is a gather of the recordings (`recording.py`).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.policy import FORMAT, VERSION, graphs_digest
from edge_asr.errors import OptionError
from edge_asr.evaluation.chunk_table import ChunkTable, OperatingPoint
from edge_asr.evaluation.gate_training import train_gate
from edge_asr.evaluation.goal import Goal
from edge_asr.evaluation.reference import reference_of
from edge_asr.evaluation.statistics import bootstrap_relative_loss, excess_p_value
from edge_asr.evaluation.temperature import fit_temperatures
from edge_asr.evaluation.threshold_path import threshold_path
from edge_asr.exits.base import Criterion
from edge_asr.exits.learned_gate import LearnedGate

LEVELS = 8
PATIENCE = 6
"""How many points in a row must lose too much before no cheaper one is tried."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The chosen thresholds of one chunk size, and what they were chosen from.

    Args:
        criterion: the criterion, with its parameters.
        thresholds: one for each exit but the last.
        levels: cheaper thresholds, for a budget to move along.
        temperatures: one for each exit; None if not asked for.
        hysteresis: see `ThresholdPolicy`; what follows is of the policy with it.
        chosen: what the thresholds give on all utterances.
        full_depth: every chunk at the last exit, on all utterances.
        held_out: utterances that judged the thresholds, and didn't shape them.
        loss: relative loss of WER on these: estimate, and the bounds of a paired bootstrap (90 %).
        certified: whether the loss is allowed with the wanted confidence; None if none was wanted.
        reference: how the criterion was distributed at each exit, see `reference_of`.
    """

    criterion: Criterion
    thresholds: tuple[float, ...]
    levels: tuple[tuple[float, ...], ...]
    temperatures: tuple[float, ...] | None
    hysteresis: float
    chosen: OperatingPoint
    full_depth: OperatingPoint
    held_out: int
    loss: tuple[float, float, float]
    certified: bool | None
    reference: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """What the choice gives beside full depth, to be kept with the thresholds."""
        return {
            "wer": self.chosen.wer,
            "full_depth_wer": self.full_depth.wer,
            "mean_exit": self.chosen.mean_exit,
            "mean_cost": self.chosen.mean_cost,
            "full_depth_cost": self.full_depth.mean_cost,
            "held_out_utterances": self.held_out,
            "held_out_relative_wer_loss": self.loss[0],
            "held_out_bounds_90": [self.loss[1], self.loss[2]],
            "certified": self.certified,
        }


def halves(count: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Splits utterances into two random halves; a single one is in both."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return (order[: count // 2], order[count // 2 :]) if count > 1 else (order, order)


def last_kept(count: int, keeps: Callable[[int], bool], stride: int = 1) -> int:
    """The last of ever cheaper points that keeps a promise; 0 if none does.

    Losses grow along the path, if not from each point to the next: after `PATIENCE` points without success no further
    one is tried.

    Args:
        count: how many points there are.
        keeps: whether a point keeps the promise.
        stride: tries each so-manieth point alone, and then those after the last success; for promises that are
            expensive to look at.
    """
    found = 0
    for place in range(0, count, stride):
        if keeps(place):
            found = place
        elif place - found >= PATIENCE:
            break
    for place in range(found + 1, min(found + stride, count)):
        if not keeps(place):
            break
        found = place
    return found


def calibrate(
    table: ChunkTable,
    criterion: Criterion,
    goal: Goal,
    *,
    temperature_scaling: bool = False,
    hysteresis: float = 0.0,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> Calibrated:
    """Choose thresholds for one chunk size.

    For a loss, the cheapest point of the path is taken whose WER is allowed on all utterances and on those that
    judge; with a confidence (Learn-then-Test, arXiv 2110.01052) points are tested on these from strict to
    lenient, and the last one before the first that fails is taken. For a cost, the best point within it.

    Args:
        table: the development set at this chunk size; its costs are in the goal's unit.
        criterion: how sure an exit is; a learned gate is trained here.
        goal: the wanted loss or cost.
        temperature_scaling: fit a temperature per exit first; a gate is trained with them.
        hysteresis: of the policy, see `ThresholdPolicy`. The path is shaped without it; its points are judged with it.
        seed: of the split.
        tick: called after each point of the path whose texts were scored, which takes long where a search writes them.

    Raises:
        OptionError: no point of the path is cheap enough, or the hysteresis is not a number from 0.
    """
    if not 0.0 <= hysteresis < float("inf"):
        raise OptionError(f"hysteresis={hysteresis!r}: expected a number from 0")
    fit, judge = (table.subset(part) for part in halves(len(table.recordings), seed))
    temperatures = fit_temperatures(fit.recordings, table.blank) if temperature_scaling else None
    if isinstance(criterion, LearnedGate):
        criterion = train_gate(fit, temperatures=temperatures)
    table.values(criterion, temperatures)
    fit, judge = (table.subset(part) for part in halves(len(table.recordings), seed))
    path = threshold_path(fit, criterion, temperatures)
    small = criterion.small_is_sure

    def takes(part: ChunkTable, thresholds: tuple[float, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
        values = part.values(criterion, temperatures)
        return part.taken(values, thresholds, small_is_sure=small, hysteresis=hysteresis)

    full_depth = table.point(table.fixed(table.exits))
    deep = judge.errors(judge.fixed(judge.exits))
    place, certified = 0, None
    if goal.max_loss is not None and goal.confidence is not None:
        for number, thresholds in enumerate(path):
            p = excess_p_value(judge.errors(takes(judge, thresholds)), deep, judge.words, goal.max_loss)
            tick()
            if p > 1 - goal.confidence:
                break
            place, certified = number, True
        certified = bool(certified)
    elif goal.max_loss is not None:
        more = 1 + goal.max_loss
        by_cost = sorted(((table.cost(takes(table, t)), -n) for n, t in enumerate(path)), reverse=True)

        def keeps(place: int) -> bool:
            thresholds = path[-by_cost[place][1]]
            held_out = judge.errors(takes(judge, thresholds)).sum() <= deep.sum() * more
            tick()
            return bool(held_out) and table.point(takes(table, thresholds)).wer <= full_depth.wer * more

        place = -by_cost[last_kept(len(by_cost), keeps, table.scorer.stride)][1]
    else:
        assert goal.mean_cost is not None
        within = [n for n, thresholds in enumerate(path) if table.cost(takes(table, thresholds)) <= goal.mean_cost]
        if not within:
            cheapest = table.cost(table.fixed(1))
            raise OptionError(f"{goal}: impossible, exit 1 alone costs {cheapest:.4g}")
        scored = []
        for number in within:
            scored.append((fit.point(takes(fit, path[number])).wer, number))
            tick()
        _, place = min(scored)
    chosen = path[place]
    taken = takes(table, chosen)
    point = table.point(taken)
    cheaper = [t for t in path[place + 1 :] if table.cost(takes(table, t)) < point.mean_cost]
    picks = sorted({round(i) for i in np.linspace(0, len(cheaper) - 1, min(LEVELS, len(cheaper)))})
    return Calibrated(
        criterion=criterion,
        thresholds=chosen,
        levels=tuple(cheaper[i] for i in picks),
        temperatures=temperatures,
        hysteresis=hysteresis,
        chosen=point,
        full_depth=full_depth,
        held_out=len(judge.recordings),
        loss=bootstrap_relative_loss(judge.errors(takes(judge, chosen)), deep, seed=seed),
        certified=certified,
        reference=reference_of(table.values(criterion, temperatures), taken),
    )


def policy_document(
    bundle: Bundle,
    precision: str,
    calibrated: Mapping[str, Mapping[str, Calibrated]],
    calibration: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of `policy.json`, format as in docs/architecture.md.

    Args:
        bundle: the bundle that was measured.
        precision: the precision that was measured; thresholds are bound to its graphs.
        calibrated: by decoder, the result for each chunk name, all with the same criterion and hysteresis. What is
            found for the first decoder holds for those that aren't there too.
        calibration: what is noted about how the thresholds were found.
    """
    parts = {decoder: _part(results, decoder, calibration) for decoder, results in calibrated.items()}
    first, *others = parts
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "precision": precision,
        "graphs": graphs_digest(bundle.spec, precision),
        **parts[first],
    }
    if others:
        document["decoders"] = {decoder: parts[decoder] for decoder in others}
    return document


def _part(results: Mapping[str, Calibrated], decoder: str, calibration: Mapping[str, Any]) -> dict[str, Any]:
    """What `policy.json` says of one decoder."""
    first = next(iter(results.values()))
    part: dict[str, Any] = {
        "criterion": first.criterion.name,
        "thresholds": {chunk: list(result.thresholds) for chunk, result in results.items()},
        "levels": {chunk: [list(level) for level in result.levels] for chunk, result in results.items()},
    }
    gates = {c: r.criterion.parameters() for c, r in results.items() if isinstance(r.criterion, LearnedGate)}
    temperatures = {c: list(r.temperatures) for c, r in results.items() if r.temperatures is not None}
    if gates:
        part["parameters"] = gates
    if temperatures:
        part["temperatures"] = temperatures
    if first.hysteresis:
        part["hysteresis"] = first.hysteresis
    part["reference"] = {chunk: list(result.reference) for chunk, result in results.items()}
    points = {chunk: result.as_json() for chunk, result in results.items()}
    part["calibration"] = {**calibration, "decoder": decoder, "points": points}
    return part


def write_policy(path: Path, document: Mapping[str, Any]) -> None:
    """Write `policy.json` in one step: a reader sees the old file or the new one, never half of one."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)

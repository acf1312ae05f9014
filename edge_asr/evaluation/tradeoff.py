"""The trade-off of a model's exits: every criterion and policy on the same recorded pass.

Half of the utterances shape thresholds and train the gate; all numbers are of the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_asr.errors import OptionError
from edge_asr.evaluation.baselines import compare, fixed_hull, oracle, random_errors
from edge_asr.evaluation.calibration import halves
from edge_asr.evaluation.chunk_table import ChunkTable, Integers
from edge_asr.evaluation.gate_training import train_gate
from edge_asr.evaluation.statistics import auroc, excess_p_value
from edge_asr.evaluation.threshold_path import PRICES, common_path, threshold_path
from edge_asr.exits.base import Criterion
from edge_asr.exits.criterion import CRITERIA, get_criterion
from edge_asr.exits.learned_gate import LearnedGate
from edge_asr.exits.threshold import ThresholdPolicy

SHARES = (0.5, 0.6, 0.7)
"""Shares of full depth at which policies are compared."""
LOSSES = (0.05, 0.10)
CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Setting:
    """A table to measure on, with the two halves of it.

    Args:
        table: all utterances.
        fit: those that shape thresholds.
        judge: those that are measured.
        frame_seconds: length of a frame.
        seed: of all draws.
    """

    table: ChunkTable
    fit: ChunkTable
    judge: ChunkTable
    frame_seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The policy that is shown in detail: the best criterion's path at a share of full depth."""

    criterion: Criterion
    thresholds: tuple[float, ...]

    def taken(self, table: ChunkTable) -> Integers:
        """Where the chunks of a table leave."""
        values = table.values(self.criterion)
        return table.taken(values, self.thresholds, small_is_sure=self.criterion.small_is_sure)


def tradeoff(
    table: ChunkTable,
    *,
    criteria: Sequence[str] = tuple(CRITERIA),
    share: float = 0.6,
    frame_seconds: float = 0.04,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Any], Shown]:
    """Sweep criteria and policies.

    Args:
        table: a development set at one chunk size.
        criteria: names of the criteria.
        share: share of full depth at which one policy is shown in detail.
        frame_seconds: length of a frame.
        seed: of splits and draws.
        tick: called after each criterion.

    Returns:
        The result as JSON values, and the policy shown in detail.

    Raises:
        OptionError: an unknown criterion, a share out of range, or fewer than two exits.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share={share!r}: expected more than 0, at most 1")
    if table.exits < 2:
        raise OptionError("a trade-off needs a model with at least two exits")
    rules = [get_criterion(name) for name in criteria]
    _ = table.harm  # computed once for both halves
    parts = halves(len(table.recordings), seed)
    setting = Setting(table, table.subset(parts[0]), table.subset(parts[1]), frame_seconds, seed)
    judge = setting.judge
    result: dict[str, Any] = {
        "fit_utterances": len(setting.fit.recordings),
        "judged_utterances": len(judge.recordings),
        "judged_chunks": len(judge.chunks),
        "full_depth_cost": float(judge.costs[-1]),
        "fixed": [_point(judge, judge.fixed(exit)) | {"exit": exit} for exit in range(1, judge.exits + 1)],
        "hull": [list(point) for point in fixed_hull(judge)],
        "curves": {},
        "auroc": {},
        "harmful": [float((judge.harm[:, i] > 0).mean()) for i in range(judge.exits - 1)],
        "comparison": [],
        "risk_coverage": {},
    }
    best: tuple[float, Shown] | None = None
    for rule in rules:
        criterion: Criterion = train_gate(setting.fit) if isinstance(rule, LearnedGate) else rule
        paths = {criterion.name: threshold_path(setting.fit, criterion, frame_seconds=frame_seconds)}
        if criterion.name == "frame_entropy":
            paths["frame_entropy, common threshold"] = common_path(setting.fit, criterion)
        for name, path in paths.items():
            shown = [Shown(criterion, thresholds) for thresholds in path]
            result["curves"][name] = [_point(judge, s.taken(judge)) | {"thresholds": list(s.thresholds)} for s in shown]
            for wanted in SHARES:
                near = _nearest(setting.fit, shown, wanted)
                row = compare(judge, near.taken(judge), seed)
                result["comparison"].append({"policy": name, "wanted_share": wanted} | row)
        nearest = _nearest(setting.fit, [Shown(criterion, thresholds) for thresholds in paths[criterion.name]], share)
        wer = setting.fit.point(nearest.taken(setting.fit)).wer
        if best is None or wer < best[0]:
            best = (wer, nearest)
        values = judge.values(criterion) * (1 if criterion.small_is_sure else -1)  # large is unsure
        result["auroc"][criterion.name] = [
            _number(auroc(values[:, i], judge.harm[:, i] > 0)) for i in range(judge.exits - 1)
        ]
        result["risk_coverage"][criterion.name] = _risk_coverage(judge, values)
        tick()
    assert best is not None
    taken = best[1].taken(judge)
    result["curves"]["oracle"] = [_point(judge, exits) for exits in oracle(judge, PRICES[::3], frame_seconds)]
    result["curves"]["random"] = _random_curve(judge, result["curves"][best[1].criterion.name], best[1].criterion)
    result["shown"] = _point(judge, taken) | {
        "criterion": best[1].criterion.name,
        "thresholds": list(best[1].thresholds),
        "hysteresis": _hysteresis(judge, best[1]),
        "partials": _partials(setting, best[1], result["curves"][best[1].criterion.name]),
    }
    result["latency"] = _latency(judge, taken)
    result["risk_control"] = [_risk_control(setting, best[1].criterion, loss) for loss in LOSSES]
    return result, best[1]


def condition(table: ChunkTable, shown: Shown) -> dict[str, Any]:
    """One condition (a noise level, a room): the fixed exits, and the shown policy with its depth."""
    taken = shown.taken(table)
    wers = [table.point(table.fixed(exit)).wer for exit in range(1, table.exits + 1)]
    entropy = np.mean([[stats.entropy for stats in chunk.stats] for chunk in table.chunks], axis=0)
    return {"fixed_wer": wers, "entropy": entropy.tolist(), "utterances": len(table.recordings)} | _point(table, taken)


def _point(table: ChunkTable, taken: Integers) -> dict[str, Any]:
    point = table.point(taken)
    return {
        "wer": point.wer,
        "cost": point.mean_cost,
        "share": point.mean_cost / float(table.costs[-1]),
        "mean_exit": point.mean_exit,
        "histogram": list(point.histogram),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _nearest(table: ChunkTable, policies: Sequence[Shown], share: float) -> Shown:
    """The policy whose cost on a table is nearest to a share of full depth."""
    costs = [table.cost(policy.taken(table)) / float(table.costs[-1]) for policy in policies]
    return policies[int(np.argmin(np.abs(np.array(costs) - share)))]


def _risk_coverage(table: ChunkTable, unsure: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[float]]:
    """At the middle exit: of the surest share of chunks, how many would be harmed by leaving there."""
    i = (table.exits - 1) // 2
    order = np.argsort(unsure[:, i], kind="stable")
    harmed = np.cumsum(table.harm[order, i] > 0)
    counts = np.unique(np.linspace(max(1, len(order) // 50), len(order), 50).astype(int))
    return [[count / len(order), float(harmed[count - 1] / count)] for count in counts.tolist()]


def _random_curve(table: ChunkTable, points: Sequence[Mapping[str, Any]], criterion: Criterion) -> list[dict[str, Any]]:
    found = []
    for point in points[:: max(1, len(points) // 10)]:
        taken = Shown(criterion, tuple(point["thresholds"])).taken(table)
        errors = random_errors(table, taken, draws=8)
        wer = float(errors.sum() / max(1, int(table.words.sum())))
        found.append({"wer": wer, "cost": point["cost"], "share": point["share"], "mean_exit": point["mean_exit"]})
    return found


def _hysteresis(table: ChunkTable, shown: Shown) -> list[dict[str, float]]:
    """The shown policy with growing hysteresis, in shares of the criterion's spread at the first exit."""
    spread = float(table.values(shown.criterion)[:, 0].std())
    same = table.utterance[1:] == table.utterance[:-1]
    rows = []
    for band in (0.0, 0.25, 0.5, 1.0):
        policy = ThresholdPolicy(shown.criterion, shown.thresholds, hysteresis=band * spread)
        taken = table.taken_by(policy)
        point = table.point(taken)
        change = float(np.abs(np.diff(taken))[same].mean()) if same.any() else 0.0
        share = point.mean_cost / float(table.costs[-1])
        rows.append({"hysteresis": band * spread, "wer": point.wer, "share": share, "mean_change": change})
    return rows


def _partials(setting: Setting, shown: Shown, curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Partials from a cheaper policy; at the end its chunks go on to where the shown policy leaves.

    The final costs what the shown policy alone costs (a little more where the cheaper one went deeper): a revisit
    repeats nothing.
    """
    table = setting.judge
    taken = shown.taken(table)
    cheaper = [Shown(shown.criterion, tuple(point["thresholds"])) for point in curve]
    share = table.cost(taken) / float(table.costs[-1])
    partial = _nearest(setting.fit, cheaper, 0.8 * share).taken(table)
    final = np.maximum(partial, taken)
    return {
        "partial": _point(table, partial),
        "final": _point(table, final),
        "one_pass": _point(table, taken),
        "revisited": float((final > partial).mean()),
        "repaired": int((table.errors(final) < table.errors(partial)).sum()),
        "spoilt": int((table.errors(final) > table.errors(partial)).sum()),
        "utterances": len(table.recordings),
    }


def _latency(table: ChunkTable, taken: Integers) -> list[dict[str, Any]]:
    """Seconds of computation per chunk, as recorded, at each exit and under the shown policy."""
    whole = table.frames == table.frames.max()
    if whole.mean() < 0.2:  # ``full``: each has its own length
        whole = np.ones(len(table.frames), dtype=bool)
    seconds = np.cumsum([chunk.seconds for chunk in table.chunks], axis=1)[whole]
    if not seconds.size:
        return []
    rows = [(f"exit {exit}", seconds[:, exit - 1]) for exit in range(1, table.exits + 1)]
    rows.append(("shown policy", seconds[np.arange(len(seconds)), taken[whole] - 1]))
    return [
        {"policy": name, "p50": float(p50), "p95": float(p95), "p99": float(p99)}
        for name, column in rows
        for p50, p95, p99 in [np.quantile(column, (0.5, 0.95, 0.99))]
    ]


def _risk_control(setting: Setting, criterion: Criterion, max_loss: float, splits: int = 100) -> dict[str, Any]:
    """Does a promised loss hold on utterances that weren't used? Random splits, and splits by speaker."""
    judge = setting.judge
    path = threshold_path(setting.fit, criterion, frame_seconds=setting.frame_seconds)
    full, words = judge.errors(judge.fixed(judge.exits)), judge.words
    errors = [judge.errors(Shown(criterion, thresholds).taken(judge)) for thresholds in path]
    costs = [judge.cost(Shown(criterion, thresholds).taken(judge)) / float(judge.costs[-1]) for thresholds in path]
    speakers = np.array([recording.utterance.speaker for recording in judge.recordings])
    rng = np.random.default_rng(setting.seed)
    rows: dict[str, Any] = {"max_loss": max_loss, "confidence": CONFIDENCE, "splits": splits}
    for kind in ("random", "by_speaker"):
        names = np.unique(speakers)
        if kind == "by_speaker" and len(names) < 2:
            continue
        kept, shares = 0, []
        for _ in range(splits):
            if kind == "random":
                inside = np.zeros(len(full), dtype=bool)
                inside[rng.permutation(len(full))[: len(full) // 2]] = True
            else:
                inside = np.isin(speakers, rng.permutation(names)[: len(names) // 2])
            place = 0
            for number, found in enumerate(errors):
                if excess_p_value(found[inside], full[inside], words[inside], max_loss) > 1 - CONFIDENCE:
                    break
                place = number
            kept += bool(errors[place][~inside].sum() <= (1 + max_loss) * full[~inside].sum())
            shares.append(costs[place])
        rows[kind] = {"kept": kept / splits, "mean_share": float(np.mean(shares)), "utterances": len(full) // 2}
    return rows

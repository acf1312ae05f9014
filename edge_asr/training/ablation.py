"""Ablations: a list of arms, each a run with some options changed, possibly branched from another arm's weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from edge_asr.errors import OptionError
from edge_asr.training.config import TrainConfig
from edge_asr.training.scoring import Score

WEIGHTS = (".safetensors", ".pt")  # files that an arm can start from
SEARCHED = "lm_errors.json"  # beside dev_errors.json


@dataclass(frozen=True, slots=True)
class Arm:
    """One run.

    Attributes:
        name: also its folder.
        config: the whole configuration, seed included.
        init: the arm whose averaged weights it starts from, or a file of weights; empty for a start from scratch.
        fresh: from this segment on nothing is taken from ``init``; 0: everything that fits is.
    """

    name: str
    config: TrainConfig
    init: str = ""
    fresh: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished arm says: WER per exit and corpus at its last evaluation, and its updates and seconds.

    Older runs lack ``scores``, the errors of each utterance that the WER is made of; ``searched`` are those of the last
    exit with a language model, where ``scripts/score.py`` has measured them.
    """

    arm: str
    step: int
    seconds: float
    wers: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    searched: dict[str, Score] = field(default_factory=dict)


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with ``change`` taking precedence; lists and values are replaced whole.

    Example:
        >>> merge({"model": {"dim": 144, "kernel": 9}}, {"model": {"kernel": 15}})
        {'model': {'dim': 144, 'kernel': 15}}
    """
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def read_arms(path: Path) -> list[Arm]:
    """Reads ``base`` (a training configuration) and ``arms`` (name → changes; ``init``, ``fresh`` and ``seeds`` too).

    An arm with ``seeds: [1, 2]`` becomes two, ``name-seed1`` and ``name-seed2``.

    Raises:
        OptionError: the file, a configuration or the order of arms is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise OptionError(f"list of arms {str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(name), dict) for name in ("arms", "base")):
        raise OptionError(f"list of arms {str(path)!r} must hold 'base' and 'arms', both mappings")
    arms: list[Arm] = []
    for name, change in values["arms"].items():
        if not isinstance(name, str) or not isinstance(change, dict | None):
            raise OptionError(f"arm {name!r} is {change!r}; allowed: a name, and options or nothing")
        change = dict(change or {})
        init, seeds, fresh = str(change.pop("init", "")), change.pop("seeds", None), change.pop("fresh", 0)
        if init and init not in {arm.name for arm in arms} and Path(init).suffix not in WEIGHTS:
            known = ", ".join(arm.name for arm in arms) or "none"
            allowed = f"an arm before it ({known}) or a file of weights ({', '.join(WEIGHTS)})"
            raise OptionError(f"arm {name!r}: init is {init!r}; allowed: {allowed}")
        if not isinstance(fresh, int) or fresh < 0 or (fresh and not init):
            raise OptionError(f"arm {name!r}: fresh is {fresh!r}; allowed: a segment's number, beside init")
        if seeds is not None and (not isinstance(seeds, list) or not seeds):
            raise OptionError(f"arm {name!r}: seeds is {seeds!r}; allowed: a list of numbers")
        for seed in seeds or [None]:
            full = name if seed is None else f"{name}-seed{seed}"
            merged = merge(values["base"], change | {"name": full} | ({} if seed is None else {"seed": seed}))
            arms.append(Arm(full, TrainConfig.from_dict(merged), init, fresh))
    return arms


def choose_arms(arms: list[Arm], only: list[str], seed: int | None = None) -> list[Arm]:
    """Keeps some arms of a list, and those whose weights they start from, in the list's order.

    Args:
        arms: of a list.
        only: names of arms; none: all.
        seed: in place of every arm's own; None: their own.

    Raises:
        OptionError: a name is not in the list.

    Example:
        >>> config = TrainConfig.from_dict({"name": "base", "model": {"vocabulary": 128}})
        >>> arms = [Arm("own", config), Arm("pure", config, init="own"), Arm("wide", config)]
        >>> [(arm.name, arm.config.seed) for arm in choose_arms(arms, ["pure"], seed=7)]
        [('own', 7), ('pure', 7)]
    """
    named = {arm.name: arm for arm in arms}
    chosen: set[str] = set()
    for name in only or named:
        if name not in named:
            raise OptionError(f"arm {name!r} is not in the list; allowed: {', '.join(named)}")
        while name in named:
            chosen.add(name)
            name = named[name].init
    kept = [arm for arm in arms if arm.name in chosen]
    return kept if seed is None else [replace(arm, config=replace(arm.config, seed=seed)) for arm in kept]


def read_result(folder: Path) -> Result | None:
    """The last evaluation of a run; None before there is one."""
    try:
        with (folder / "dev.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return None
    if not rows:
        return None
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    wers = {row["corpus"]: [float(v) for k, v in row.items() if k.startswith("wer")] for row in last}
    greedy, searched = _scores(folder / "dev_errors.json"), _scores(folder / SEARCHED)
    return Result(folder.name, int(rows[-1]["step"]), float(rows[-1]["elapsed"]), wers, greedy, searched)


def _scores(path: Path) -> dict[str, Score]:
    """Errors of each utterance, by corpus; nothing if there is no such file."""
    scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Score(**score) for name, score in scores.items()}


def as_markdown(results: list[Result], beside: Callable[[Score, Score], str]) -> str:
    """The results as one Markdown table a corpus, WER in percent.

    Args:
        results: of arms, the one that the others are compared with first.
        beside: says how an arm's errors differ from the first one's.
    """
    lines: list[str] = []
    first = results[0]

    def against(own: Score | None, other: Score | None) -> str:
        return beside(own, other) if own and other and own is not other and own.words == other.words else "–"

    for corpus in sorted({name for result in results for name in result.wers}):
        exits = max(len(result.wers.get(corpus, [])) for result in results)
        columns = ["arm", "updates", "minutes", *(f"exit {i}" for i in range(1, exits + 1))]
        columns.append(f"exit {exits} against {first.arm}")
        searched = any(corpus in result.searched for result in results)
        if searched:
            columns += ["with language model", f"against {first.arm}"]
        lines += [f"**{corpus}**", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
        for result in results:
            cells = [f"{100 * w:.1f}" for w in result.wers.get(corpus, [])]
            cells.append(against(result.scores.get(corpus), first.scores.get(corpus)))
            if searched:
                score = result.searched.get(corpus)
                cells.append(f"{100 * score.wers[-1]:.1f}" if score else "–")
                cells.append(against(score, first.searched.get(corpus)))
            lines.append(f"| {result.arm} | {result.step} | {result.seconds / 60:.0f} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)

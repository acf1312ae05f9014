"""Trains a list of arms one after another and writes a table; run it again to go on.

    python scripts/ablate.py ARMS.yaml --data PREPARED --out RUNS

Each arm is a process of its own (scripts/train.py) in RUNS/<arm>; finished ones are not run again. RUNS/table.md is
written after each, with the last exit's difference to the first arm (95 %, paired bootstrap over utterances). Ctrl-C
stops after the running arm has saved.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from edge_asr.errors import EdgeAsrError
from edge_asr.evaluation.statistics import bootstrap_difference, in_points
from edge_asr.training.ablation import WEIGHTS, Arm, as_markdown, read_arms, read_result
from edge_asr.training.checkpoint import read_checkpoint
from edge_asr.training.scoring import Score

TRAIN = Path(__file__).with_name("train.py")


def finished(arm: Arm, folder: Path) -> bool:
    """Whether the arm's schedule has ended."""
    if not (folder / "last.pt").exists() or read_result(folder) is None:
        return False
    saved, optim = read_checkpoint(folder / "last.pt"), arm.config.optim
    return bool(saved["elapsed"] >= 60 * optim.minutes if optim.minutes else saved["step"] >= optim.steps)


def run(arm: Arm, out: Path, data: Path) -> int:
    """Trains one arm; its exit code."""
    folder = out / arm.name
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(plain(arm.config.to_dict())))
    command = [sys.executable, str(TRAIN), "--config", str(config), "--data", str(data), "--out", str(folder)]
    if arm.init:
        command += ["--init", arm.init if Path(arm.init).suffix in WEIGHTS else str(out / arm.init / "last.pt")]
    if arm.fresh:
        command += ["--fresh", str(arm.fresh)]
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()  # it got the signal too, and saves


def beside(score: Score, other: Score) -> str:
    """The last exit's WER of one beside another's on the same utterances, in points, with its interval."""
    return in_points(bootstrap_difference(*map(np.array, (score.errors[-1], other.errors[-1], score.words))))


def plain(value: object) -> object:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, tuple | list) else value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        arms = read_arms(args.arms)
        for number, arm in enumerate(arms, 1):
            folder = args.out / arm.name
            if finished(arm, folder):
                console.print(f"arm {number} of {len(arms)}, {arm.name}: finished before")
            else:
                console.print(f"arm {number} of {len(arms)}, {arm.name}" + (f", from {arm.init}" if arm.init else ""))
                code = run(arm, args.out, args.data)
                if code:
                    console.print(f"error: arm {arm.name} ended with exit code {code}", markup=False)
                    return code
            results = [r for a in arms if (r := read_result(args.out / a.name)) is not None]
            (args.out / "table.md").write_text(as_markdown(results, beside))
        console.print((args.out / "table.md").read_text(), markup=False)
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

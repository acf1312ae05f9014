"""Trains a list of arms, one after another or some at a time, and writes a table; run it again to go on.

    python scripts/ablate.py ARMS.yaml --data PREPARED --out RUNS [--jobs 2] [--lm en.lm] [--only a,b] [--seed 2]

Each arm is a process of its own (scripts/train.py) in RUNS/<arm>; finished ones are not run again. RUNS/table.md is
written after each, with the last exit's difference to the first arm (95 %, paired bootstrap over utterances); --lm adds
the last exit's error rate with a language model. Two arms of one thread each get further in an hour than arms of two
threads in turn. Ctrl-C stops after the running arms have saved. Another --seed, or an arm whose options have changed,
needs another RUNS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.evaluation.statistics import bootstrap_difference, in_points
from edge_asr.model.config import ModelConfig
from edge_asr.training.ablation import SEARCHED, WEIGHTS, Arm, as_markdown, choose_arms, read_arms, read_result
from edge_asr.training.checkpoint import changes, read_checkpoint
from edge_asr.training.scoring import Score

TRAIN, SCORE = (Path(__file__).with_name(name) for name in ("train.py", "score.py"))


def finished(arm: Arm, folder: Path) -> bool:
    """Whether the arm's schedule has ended and its last weights have been scored."""
    result = read_result(folder)
    if not (folder / "last.pt").exists() or result is None:
        return False
    saved, optim = read_checkpoint(folder / "last.pt"), arm.config.optim
    other = ModelConfig.from_dict(saved["config"]["model"]) != arm.config.model
    found = [*(["its model was another one"] if other else []), *changes(saved["config"], arm.config)]
    if found:
        raise OptionError(
            f"arm {arm.name!r} is in {str(folder)!r} with other options: {'; '.join(found)}; use another --out"
        )
    if result.step != saved["step"]:  # killed between the last checkpoint and its scoring
        return False
    return bool(saved["elapsed"] >= 60 * optim.minutes if optim.minutes else saved["step"] >= optim.steps)


class Runner:
    """Trains arms, several at a time, and keeps the table.

    Args:
        arms: in the order in which they are begun; one that starts from another waits for it.
        out: folder of their folders.
        data: what ``scripts/prepare_data.py`` wrote.
        jobs: how many at a time; of more than one, each writes to its folder's output.log.
        threads: CPU threads of each arm.
        options: of ``scripts/train.py``, for each.
        lm: a language model to score the last exit with; None: word pieces greedily alone.
        console: says which arm is begun.
    """

    def __init__(
        self,
        arms: list[Arm],
        out: Path,
        data: Path,
        *,
        jobs: int,
        threads: int,
        options: list[str],
        lm: Path | None,
        console: Console,
    ) -> None:
        self.arms, self.out, self.data, self.jobs = arms, out, data, jobs
        self.options, self.threads, self.lm, self.console = options, ["--threads", str(threads)], lm, console
        self.failed = 0  # exit code of the first arm that did not end well; no arm is begun after it
        self._lock = threading.Lock()

    def run(self) -> int:
        """Trains all that are not finished; the exit code of the first that failed, else 0."""
        begun: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            for number, arm in enumerate(self.arms, 1):
                begun[arm.name] = pool.submit(self._one, number, arm, begun.get(arm.init))
            try:
                for future in begun.values():
                    future.result()
            except BaseException:  # Ctrl-C: the arms got the signal too, and save
                self.failed = self.failed or 130
                raise
        return self.failed

    def _one(self, number: int, arm: Arm, before: Future[None] | None) -> None:
        if before is not None:
            before.result()  # was submitted earlier, so it is running or finished
        if self.failed:
            return
        which = f"arm {number} of {len(self.arms)}, {arm.name}"
        if finished(arm, self.out / arm.name):
            self.console.print(f"{which}: finished before")
        else:
            self.console.print(which + (f", from {arm.init}" if arm.init else ""))
            if self._failed(arm, self._train(arm)):
                return
            (self.out / arm.name / SEARCHED).unlink(missing_ok=True)  # of weights that are no more
        if self.lm and not (self.out / arm.name / SEARCHED).exists() and self._failed(arm, self._search(arm, self.lm)):
            return
        with self._lock:
            results = [read_result(self.out / a.name) for a in self.arms if finished(a, self.out / a.name)]
            (self.out / "table.md").write_text(as_markdown([r for r in results if r is not None], beside))

    def _failed(self, arm: Arm, code: int) -> bool:
        """Whether an exit code is not 0; says and keeps it."""
        if code:
            self.failed = self.failed or code
            self.console.print(f"error: arm {arm.name} ended with exit code {code}", markup=False)
        return code != 0

    def _train(self, arm: Arm) -> int:
        folder = self.out / arm.name
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(plain(arm.config.to_dict())))
        command = [sys.executable, str(TRAIN), "--config", str(config), "--data", str(self.data), "--out", str(folder)]
        if arm.init:
            known = Path(arm.init).suffix in WEIGHTS
            command += ["--init", arm.init if known else str(self.out / arm.init / "last.pt")]
        if arm.fresh:
            command += ["--fresh", str(arm.fresh)]
        return self._call(arm, [*command, *self.options])

    def _search(self, arm: Arm, lm: Path) -> int:
        folder = self.out / arm.name
        command = [sys.executable, str(SCORE), str(folder / "last.pt"), "--data", str(self.data), "--lm", str(lm)]
        return self._call(arm, [*command, "--out", str(folder / SEARCHED)])

    def _call(self, arm: Arm, command: list[str]) -> int:
        if self.jobs == 1:
            return subprocess.run([*command, *self.threads]).returncode
        with (self.out / arm.name / "output.log").open("a") as log:  # two progress bars would write over one another
            return subprocess.run([*command, *self.threads], stdout=log, stderr=subprocess.STDOUT).returncode


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
    parser.add_argument("--jobs", type=int, default=1, help="arms at a time (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads of each arm (default: all, shared out)")
    parser.add_argument("--only", default="", help="comma-separated names of arms (default: all)")
    parser.add_argument("--seed", type=int, help="of every arm, in place of what the list says")
    parser.add_argument("--dev-minutes", type=float, default=6.0, help="0: scored at the end only")
    parser.add_argument("--lm", type=Path, help="language model to score the last exit with as well")
    args = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        if args.jobs < 1:
            raise OptionError(f"--jobs is {args.jobs}; allowed: at least 1")
        runner = Runner(
            choose_arms(read_arms(args.arms), args.only.split(",") if args.only else [], args.seed),
            args.out,
            args.data,
            jobs=args.jobs,
            threads=args.threads or max(1, (os.cpu_count() or 1) // args.jobs),
            options=["--dev-minutes", str(args.dev_minutes)],
            lm=args.lm,
            console=console,
        )
        code = runner.run()
        if not code:
            console.print((args.out / "table.md").read_text(), markup=False)
        return code
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

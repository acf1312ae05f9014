"""Trains a model; run the same command again to go on after any interruption.

    python scripts/train.py --config scripts/configs/mini.yaml --data PREPARED --out RUN [--init
    WEIGHTS] [--device cuda]

PREPARED is what scripts/prepare_data.py wrote. Ctrl-C saves and stops. Several GPUs, or processes, share each batch:

    torchrun --nproc-per-node 8 scripts/train.py --config … --data PREPARED --out RUN

--dry-run makes a few updates on noise, which needs no data, and says how large the run is and what it will cost:

    python scripts/train.py --config … --dry-run [--data-hours 960] [--speed 4000] [--processes 8]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.model.model import AsrModel
from edge_asr.training.branching import branch
from edge_asr.training.config import TrainConfig
from edge_asr.training.estimate import estimate, rehearse
from edge_asr.training.parallel import Parallel, local_device
from edge_asr.training.trainer import Trainer
from edge_asr.training.weights import lineage, load_weights


def dry_run(config: TrainConfig, device: str, data_hours: float, speed: float | None, processes: int) -> None:
    """Rehearses a run and prints its size."""
    where = torch.device(local_device(device))
    small = where.type == "cpu"
    batch = 24.0 if small else config.optim.batch_seconds / processes
    measured = rehearse(config, where, batch_seconds=batch, utterance_seconds=3.0 if small else 12.0)
    print(
        f"{config.name}: every phase works on {device}, {measured:.0f} s of audio per second "
        f"in batches of {batch:.0f} s of noise"
    )
    size = estimate(config, data_hours=data_hours, speed=speed or measured, processes=processes)
    print(
        f"{size.parameters / 1e6:.1f} M parameters; {size.updates:,} updates of {config.optim.batch_seconds:g} s; "
        f"{size.audio_hours:,.0f} h of audio, {size.passes:.0f} passes over {data_hours:g} h"
    )
    given = "as given" if speed else "as measured here"
    print(
        f"at {speed or measured:.0f} s per second ({given}) and {processes} processes: {size.hours:.1f} h, "
        f"{size.process_hours:.1f} process-hours"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder that scripts/prepare_data.py wrote")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--init", type=Path, help="checkpoint or .safetensors to start from")
    parser.add_argument("--fresh", type=int, default=0, metavar="N", help="take nothing of --init from segment N on")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--dev-minutes", type=float, default=6.0, help="0: scored at the end only")
    parser.add_argument("--dry-run", action="store_true", help="updates on noise, and what the run will cost")
    parser.add_argument("--data-hours", type=float, default=960.0, help="for --dry-run: hours of training data")
    parser.add_argument("--speed", type=float, help="for --dry-run: seconds of audio per second and process")
    parser.add_argument("--processes", type=int, default=1, help="for --dry-run")
    args = parser.parse_args()
    if not args.dry_run and (args.data is None or args.out is None):
        parser.error("--data and --out are required, except with --dry-run")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        if args.fresh < 0 or (args.fresh and not args.init):
            raise OptionError(f"--fresh is {args.fresh}; allowed: a segment's number, beside --init")
        start: dict[str, Any] = {}
        sizes = None
        if args.init:
            source, tokenizer, notes = load_weights(args.init)
            sizes = source.config
        config = TrainConfig.load(args.config, sizes)
        if args.init:
            torch.manual_seed(config.seed)
            model = AsrModel(config.model)
            missing = branch(source, model, fresh=args.fresh)
            if missing:
                print(f"drawn anew, as {args.init} lacks them: {', '.join(missing)}", file=sys.stderr)
            start = {"init": model.state_dict(), "earlier": lineage(notes)}
            if len(tokenizer) == config.model.vocabulary:
                start["tokenizer"] = tokenizer  # otherwise one of that size is trained, for exits drawn anew
        if args.dry_run:
            dry_run(config, args.device, args.data_hours, args.speed, args.processes)
            return 0
        parallel = Parallel.start(args.device)
        try:
            device = local_device(args.device)
            trainer = Trainer(config, args.data, args.out, device=device, parallel=parallel, **start)
            if trainer.finished and parallel.leads:
                print(f"run {str(args.out)!r} was finished before, after {trainer.step} updates", file=sys.stderr)
            trainer.run(save_minutes=args.save_minutes, dev_minutes=args.dev_minutes)
        finally:
            parallel.close()
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 130 if trainer.stopped else 0


if __name__ == "__main__":
    sys.exit(main())

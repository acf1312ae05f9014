"""Trains a model; run the same command again to go on after any interruption.

    python scripts/train.py --config scripts/configs/en-tiny.yaml --data PREPARED --out RUN [--init
    WEIGHTS] [--device cuda]

PREPARED is what scripts/prepare_data.py wrote. Ctrl-C saves and stops.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from edge_asr.errors import EdgeAsrError
from edge_asr.training.config import TrainConfig
from edge_asr.training.trainer import Trainer
from edge_asr.training.weights import lineage, load_weights


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="checkpoint or .safetensors to start from")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--dev-minutes", type=float, default=6.0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        config = TrainConfig.load(args.config)
        start: dict[str, Any] = {}
        if args.init:
            model, tokenizer, notes = load_weights(args.init)
            start = {"init": model.state_dict(), "tokenizer": tokenizer, "earlier": lineage(notes)}
        trainer = Trainer(config, args.data, args.out, device=args.device, **start)
        trainer.run(save_minutes=args.save_minutes, dev_minutes=args.dev_minutes)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 130 if trainer.stopped else 0


if __name__ == "__main__":
    sys.exit(main())

"""Averages the weights of several models of one descent; often a little better than the last one alone.

    python scripts/average.py RUN/a.pt RUN/b.pt RUN/last.pt --out RUN/average.pt
    python scripts/average.py models/en-tiny.safetensors RUN/last.pt --shares 0.3 0.7 --out RUN/average.pt

Checkpoints of one run, or what a run began with (.pt or .safetensors) and where it ended (Wortsman et al. 2022,
arXiv 2109.01903). Everything but the averaged weights (the optimiser, the place in the schedule) is the last one's,
and so are phone heads that an earlier one lacks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.training.checkpoint import read_checkpoint, save_checkpoint
from edge_asr.training.weights import load_weights

PHONES = ".exit.phones."


def average(paths: list[Path], out: Path, shares: list[float] | None = None) -> None:
    """Writes the last checkpoint with the mean of all averaged weights; DataError if they are not of one shape.

    Args:
        paths: checkpoints; .safetensors too, but for the last.
        out: the checkpoint to write.
        shares: how much each counts; all the same by default. They are made to add up to 1.
    """
    shares = shares or [1.0] * len(paths)
    if len(shares) != len(paths) or min(shares) < 0 or not sum(shares) > 0:
        raise OptionError(f"shares are {shares} for {len(paths)} checkpoints; allowed: one each, from 0, not all 0")
    if not out.parent.is_dir():
        raise OptionError(f"--out is {str(out)!r}; allowed: a file in a folder that exists")
    values = read_checkpoint(paths[-1])
    last = values["ema"]
    total = {name: p.double() * shares[-1] if p.is_floating_point() else p for name, p in last.items()}
    for path, share in zip(paths[:-1], shares[:-1], strict=True):
        other = load_weights(path)[0].state_dict() if path.suffix == ".safetensors" else read_checkpoint(path)["ema"]
        other |= {name: p for name, p in last.items() if PHONES in name and name not in other}
        if {n: p.shape for n, p in other.items()} != {n: p.shape for n, p in total.items()}:
            raise DataError(f"checkpoint {str(path)!r} holds other weights than {str(paths[-1])!r}")
        total = {name: p + share * other[name] if p.is_floating_point() else p for name, p in total.items()}
    values["ema"] = {
        name: (p / sum(shares)).to(last[name].dtype) if p.is_floating_point() else p for name, p in total.items()
    }
    save_checkpoint(out, values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--shares", nargs="+", type=float, help="how much each counts (default: all the same)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        average(args.checkpoints, args.out, args.shares)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}: the mean of {len(args.checkpoints)} checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(main())

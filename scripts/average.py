"""Averages the weights of several checkpoints of one run; often a little better than the last one alone.

    python scripts/average.py RUN/a.pt RUN/b.pt RUN/last.pt --out RUN/average.pt

Everything but the averaged weights (the optimiser, the place in the schedule) is the last one's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.training.checkpoint import read_checkpoint, save_checkpoint


def average(paths: list[Path], out: Path) -> None:
    """Writes the last checkpoint with the mean of all averaged weights; DataError if they are not of one shape."""
    values = read_checkpoint(paths[-1])
    total = {name: p.double() if p.is_floating_point() else p for name, p in values["ema"].items()}
    for path in paths[:-1]:
        other = read_checkpoint(path)["ema"]
        if {n: p.shape for n, p in other.items()} != {n: p.shape for n, p in total.items()}:
            raise DataError(f"checkpoint {str(path)!r} holds other weights than {str(paths[-1])!r}")
        total = {name: p + other[name] if p.is_floating_point() else p for name, p in total.items()}
    values["ema"] = {
        name: (p / len(paths)).to(values["ema"][name].dtype) if p.is_floating_point() else p
        for name, p in total.items()
    }
    save_checkpoint(out, values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        average(args.checkpoints, args.out)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}: the mean of {len(args.checkpoints)} checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(main())

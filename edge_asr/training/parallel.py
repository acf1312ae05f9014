"""Data-parallel training: the processes that torchrun starts share each batch and average their gradients.

    torchrun --nproc-per-node 8 scripts/train.py --config CONFIG.yaml --data PREPARED --out RUN

Every process draws the same batches, chunk sizes and depths from the same seed and takes its share of each batch's
utterances, so ``optim.batch_seconds`` is the whole batch, whatever the number of processes, and an update is the one
that a single process would have made (up to rounding, and to dropout, augmentation and splices, which each process
draws for itself). With
``optim.local_steps`` each makes updates of its own on its shares, and all take the mean of their weights now and then.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from edge_asr.errors import OptionError

PATIENCE = timedelta(hours=1)  # the others wait while the first one scores and saves


class Parallel:
    """This process among those of the run; alone by default, when nothing is communicated.

    Attributes:
        rank: which one it is, from 0.
        size: how many there are.

    Example:
        >>> Parallel().average([], {"losses": [2.0, 1.0]}, weight=5.0)
        {'losses': [2.0, 1.0]}
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def start(cls, device: str) -> Parallel:
        """Joins the run that torchrun's environment describes; without one, this process is alone.

        Args:
            device: ``cpu`` (gloo) or ``cuda`` (NCCL); the process's own device is ``local_device(device)``.

        Raises:
            OptionError: the environment's numbers are not numbers.
        """
        try:
            size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        except ValueError as error:
            raise OptionError(f"WORLD_SIZE and RANK must be whole numbers, as torchrun sets them: {error}") from error
        if size > 1:
            if device.startswith("cuda"):
                torch.cuda.set_device(local_device(device))
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
        return cls(rank, size)

    def close(self) -> None:
        """Leaves the run."""
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is the process that saves, scores and reports."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader does what is in the block before the others do."""
        if not self.leads:
            distributed.barrier()
        yield
        if self.leads and self.size > 1:
            distributed.barrier()

    def broadcast(self, module: nn.Module) -> None:
        """Gives all processes the leader's parameters and buffers."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter], logged: dict[str, Any], weight: float) -> dict[str, Any]:
        """Replaces gradients by their weighted mean over the processes.

        Losses are means over the tokens of a share of the batch. With the number of those tokens as weight, their
        weighted mean is the mean over the batch, and so are the gradients.

        Args:
            parameters: the same ones in all processes. Those that have a gradient in no process are left without.
            logged: numbers and lists of numbers to be averaged alike, for the log; of the same form in all processes.
            weight: of this process; 0 where it has nothing to contribute.

        Returns:
            The averages of ``logged``, to four decimals.
        """
        if self.size == 1:
            return logged
        known = list(parameters)
        device = known[0].device
        there = torch.tensor([float(p.grad is not None) for p in known], device=device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
        numbers = [x for value in logged.values() for x in (value if isinstance(value, list) else [value])]
        # What has no weight must not even be looked at: nothing times infinity is no number.
        tensors = (*gradients, torch.tensor(numbers, device=device))
        parts = [(x.float() * weight if weight else torch.zeros_like(x)).flatten() for x in tensors]
        flat = torch.cat([*parts, there, torch.tensor([weight], device=device)])
        distributed.all_reduce(flat)
        sizes = [part.numel() for part in parts]
        *means, mean_numbers = torch.split(flat[: sum(sizes)] / flat[-1].clamp(min=1e-9), sizes)
        for p, mean, count in zip(known, means, flat[sum(sizes) : -1].tolist(), strict=True):
            p.grad = mean.view_as(p).to(p.dtype) if count else None
        rounded = iter(round(x, 4) for x in mean_numbers.tolist())
        return {
            name: [next(rounded) for _ in value] if isinstance(value, list) else next(rounded)
            for name, value in logged.items()
        }

    def total(self, numbers: list[float], device: torch.device) -> list[float]:
        """The sums of numbers over the processes; of the same form in all.

        Example:
            >>> Parallel().total([2.0, 1.0], torch.device("cpu"))
            [2.0, 1.0]
        """
        if self.size == 1:
            return numbers
        told = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(told)
        return [float(x) for x in told]

    @torch.no_grad()
    def meet(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors, the same ones in all processes, by their means over the processes, in place."""
        if self.size == 1:
            return
        known = list(tensors)
        flat = torch.cat([x.detach().float().flatten() for x in known])
        distributed.all_reduce(flat)
        for x, mean in zip(known, torch.split(flat / self.size, [x.numel() for x in known]), strict=True):
            x.copy_(mean.view_as(x))

    def agree(self, elapsed: float, stopped: bool, seconds: float, device: torch.device) -> tuple[float, bool, float]:
        """What must be the same everywhere after an update.

        Args:
            elapsed: seconds of training; the leader's clock counts, as schedules follow it.
            stopped: whether this process was told to stop; then all do.
            seconds: audio in this process's share of the batch.
            device: where to communicate.

        Returns:
            The leader's elapsed time, whether anyone was told to stop, and the audio of the whole batch.
        """
        if self.size == 1:
            return elapsed, stopped, seconds
        mine = [elapsed if self.leads else 0.0, float(stopped), seconds]
        told = torch.tensor(mine, dtype=torch.float64, device=device)
        distributed.all_reduce(told)
        return float(told[0]), bool(told[1] > 0), float(told[2])


def local_device(device: str) -> str:
    """The device of this process on its machine: ``cuda`` becomes ``cuda:N`` under torchrun.

    Example:
        >>> local_device("cpu")
        'cpu'
    """
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device

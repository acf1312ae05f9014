"""The learner: a model, its optimisers and averaged weights, and one update. Needs torch and numpy alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_asr.errors import DataError, OptionError
from edge_asr.model.layers import pick
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.crf import Bigram
from edge_asr.training.loss import consistency_losses, ctc_losses, distillation_losses, phone_losses, splice
from edge_asr.training.optimizer import build_optimizers, rate
from edge_asr.training.parallel import Parallel
from edge_asr.training.regression import TeacherHeads


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is native: on CUDA, or a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)  # older ones emulate it
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Learner:
    """What an update needs and changes.

    Args:
        config: the run.
        model: the network, moved to ``device``.
        device: where to compute.
        teacher_dim: width of a teacher's states, where there is one.
        parallel: the processes that share each batch; this one alone by default.
        bigram: of phones, for ``optim.crf``.

    Raises:
        OptionError: ``optim.crf`` without a bigram.

    Attributes:
        step: updates done; also the seed of everything an update draws.
        ema: averaged weights, by parameter name; what is evaluated and exported.
        working: model and heads as forward and backward see them: a copy with parameters in bfloat16 where that is
            fast, so that every activation is in bfloat16 (exits' log-probabilities and losses stay in float32);
            ``trained`` itself elsewhere. The optimisers work on ``trained``, in float32.
        heads: of the losses on streams, by the option that weighs them; in training only.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: AsrModel,
        device: torch.device,
        teacher_dim: int = 0,
        parallel: Parallel | None = None,
        bigram: Bigram | None = None,
    ) -> None:
        if config.optim.crf and bigram is None:
            raise OptionError(
                f"training option optim.crf is {config.optim.crf!r}; allowed: 0, unless a bigram is given"
            )
        self.bigram = bigram
        self.config, self.device, self.parallel = config, device, parallel or Parallel()
        self.model = model.to(device)
        optim, dim = config.optim, config.model.dim
        self.heads: dict[str, nn.Module] = {}
        if teacher_dim and optim.teacher:
            self.heads["teacher"] = TeacherHeads(dim, teacher_dim, optim.teacher_exits).to(device)
        if not optim.phones:  # no loss asks for them; weight decay must not touch them either
            for name, p in self.model.named_parameters():
                if ".exit.phones." in name:
                    p.requires_grad_(False)
        self.trained = nn.ModuleDict({"model": self.model} | self.heads)
        self.parallel.broadcast(self.trained)
        self.ema = {name: p.detach().clone() for name, p in model.state_dict().items()}
        half = optim.precision == "bfloat16" or (optim.precision == "auto" and has_fast_bf16(device))
        self.working = deepcopy(self.trained) if half else self.trained
        if half:
            for p in self.working.parameters():
                p.data = p.data.to(torch.bfloat16)
        self.optimizers = build_optimizers(self.trained, config.optim, torch.bfloat16 if half else None)
        self.step = 0

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "step": self.step,
        } | {name: head.state_dict() for name, head in self.heads.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes back to a state.

        Raises:
            DataError: it is one of other sizes, heads or optimisers.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.ema = {name: p.to(self.device) for name, p in state["ema"].items()}
            for name, head in self.heads.items():
                head.load_state_dict(state[name])
            for (optimizer, _), values in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(values)
        except (KeyError, ValueError, RuntimeError) as error:
            raise DataError(f"a saved state does not fit the run's model, heads and optimisers: {error}") from error
        if self.working is not self.trained:  # the features' mean and deviation are not parameters
            for copy, buffer in zip(self.working.buffers(), self.trained.buffers(), strict=True):
                copy.copy_(buffer)
        self.step = state["step"]

    def averaged(self) -> AsrModel:
        """A copy of the model with the averaged weights, in evaluation mode."""
        model = AsrModel(self.config.model).to(self.device)
        model.load_state_dict(self.ema)
        return model.eval()

    def update(self, phase: Phase, batch: Batch, progress: float) -> dict[str, Any]:
        """One optimiser step.

        Args:
            phase: its depths, patterns and weight of the splice are used.
            batch: on any device.
            progress: share of the run done, for the schedule.

        Returns:
            What is logged: losses per exit (none for a batch under a pattern of exits), of the splice, of consistency,
            of the teacher and of phones, gradient norm, share of the peak rate, chunk.
        """
        config, optim = self.config.model, self.config.optim
        rng = np.random.default_rng([self.config.seed, self.step])
        chunk = _draw(optim.chunks, rng)
        look_ahead = _draw(optim.look_ahead, rng)
        exits = _draw(phase.depths, rng) if phase.depths else config.exits
        pattern = None
        if phase.patterns and chunk and rng.random() < phase.patterns:
            chunks = -(-int(batch.lengths.max()) // chunk)
            own = np.random.default_rng([self.config.seed, self.step, self.parallel.rank])
            pattern = torch.from_numpy(own.integers(1, exits + 1, (len(batch.lengths), chunks))).to(self.device)
        factor = rate(optim, self.step, progress)
        for optimizer, peak in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        self._refresh()
        model = self.working["model"]
        assert isinstance(model, AsrModel)
        taps = bool(self.heads) and pattern is None
        nothing: AbstractContextManager[dict[int, Tensor]] = nullcontext({})
        with model.encoder.tapped() if taps else nothing as hidden:
            mels, lengths = batch.mels.to(self.device), batch.lengths.to(self.device)
            frames = model.frontend.subsampling(mels)
            log_probs = model.encoder.every_exit(frames, lengths, pattern, chunk or None, look_ahead, exits).float()
            extra = {name: self.working[name](hidden, batch) for name in self.heads} if hidden else {}
        # Split, not sliced: its gradient is one concatenation.
        log_probs, phones = torch.split(log_probs, [config.vocabulary, config.phones], dim=-1)
        if pattern is not None:
            log_probs = pick(log_probs, pattern, chunk)[None]
        elif optim.phones:
            extra["phones"] = phone_losses(phones, batch, self.bigram, optim.crf).mean()
        if self.parallel.size > 1 and not self.local:
            extra = self._shared(extra, batch)
        loss, logged = self._loss(phase, batch, log_probs, chunk if pattern is None else 0)
        loss = loss + sum(getattr(optim, name) * value for name, value in extra.items())
        self.working.zero_grad(set_to_none=True)
        loss.backward()
        self._collect()
        for name in ("teacher", "phones"):
            logged[name] = round(float(extra[name].detach()), 4) if name in extra else 0.0
        tokens = float(batch.target_lengths.sum())
        if not self.local:
            logged = self.parallel.average(self.trained.parameters(), logged, tokens)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), optim.clip)
        if torch.isfinite(norm) and (tokens or not self.local):
            for optimizer, _ in self.optimizers:
                optimizer.step()
            self._average(min(optim.ema, (1 + self.step) / (10 + self.step)))
        self.step += 1
        if self.meets:
            self.meet()
        if pattern is not None:
            logged |= {"splice": logged["losses"][0], "losses": []}
        return logged | {"norm": round(float(norm), 3), "rate": factor, "chunk": chunk}

    def _shared(self, extra: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses that are means over phones or frames, so scaled that weights by word pieces give the batch's mean."""
        counts = {"phones": batch.phone_lengths, "teacher": batch.state_lengths}
        tokens = float(batch.target_lengths.sum())
        # A share that was left without an utterance holds another one's, whose states count where they belong.
        own = [float(count.sum()) if (count := counts[name]) is not None and tokens else 0.0 for name in extra]
        *all_counts, all_tokens = self.parallel.total([*own, tokens], self.device)
        return {
            name: value * (mine * all_tokens / max(total * tokens, 1e-9))
            for (name, value), mine, total in zip(extra.items(), own, all_counts, strict=True)
        }

    @property
    def local(self) -> bool:
        """Whether each process goes its own way between meetings."""
        return self.parallel.size > 1 and self.config.optim.local_steps > 1

    @property
    def meets(self) -> bool:
        """Whether all processes have the same weights now; without ``local_steps``, always."""
        return not self.local or self.step % self.config.optim.local_steps == 0

    def meet(self) -> None:
        """Where each went its own way: takes the mean of all processes' weights and averages; each calls it."""
        if self.local:
            tensors = [*self.trained.state_dict().values(), *self.ema.values()]
            self.parallel.meet(x for x in tensors if x.is_floating_point())

    @torch.no_grad()
    def _refresh(self) -> None:
        """Gives the working copy the weights of now."""
        self.working.train()
        if self.working is not self.trained:
            torch._foreach_copy_(list(self.working.parameters()), list(self.trained.parameters()))

    def _collect(self) -> None:
        """Takes over the working copy's gradients."""
        if self.working is not self.trained:
            for p, copy in zip(self.trained.parameters(), self.working.parameters(), strict=True):
                p.grad = None if copy.grad is None else copy.grad.to(p.dtype)

    def _loss(self, phase: Phase, batch: Batch, log_probs: Tensor, chunk: int) -> tuple[Tensor, dict[str, Any]]:
        """The loss on sequences of word pieces (E, B, T, V); with a chunk size, a splice of them is one more."""
        optim, exits = self.config.optim, len(log_probs)
        drawn = consistency_losses(log_probs, batch) if batch.views == 2 else log_probs.new_zeros(exits)
        shown = log_probs.new_zeros(())
        if optim.distillation and exits > 1:
            shown = distillation_losses(log_probs, batch, min(optim.delay, log_probs.shape[2] - 1)).mean()
        if phase.splice and chunk:
            generator = torch.Generator().manual_seed(self.step + (self.parallel.rank << 32))
            log_probs = torch.cat([log_probs, splice(log_probs, chunk, generator)[None]])
        losses = ctc_losses(log_probs, batch)
        weights = torch.tensor((optim.exit_weights or (1.0,) * exits)[:exits], device=losses.device)
        per_exit = losses[:exits] + optim.consistency * drawn
        loss = (per_exit * weights).sum() / weights.sum() + phase.splice * losses[exits:].sum()
        values = [round(float(x), 4) for x in losses.detach().cpu()]
        logged = {
            "losses": values[:exits],
            "splice": round(sum(values[exits:]), 4),
            "consistency": round(float(drawn.detach().mean()), 4),
        }
        return loss + optim.distillation * shown, logged

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for name, p in self.model.state_dict().items():
            if p.is_floating_point():
                self.ema[name].lerp_(p, 1 - decay)
            else:
                self.ema[name].copy_(p)


def _draw(shares: dict[int, float], rng: np.random.Generator) -> int:
    values = np.array(list(shares.values()))
    return int(rng.choice(list(shares), p=values / values.sum()))

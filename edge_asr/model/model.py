"""The whole network: frontend and encoder."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer
from edge_asr.model.frontend import Frontend
from edge_asr.model.registry import build_encoder


def two_speed(model: AsrModel) -> TwoSpeedSplitformer:
    """The encoder, if it is of the one kind that bundles and runtime know; OptionError otherwise."""
    if not isinstance(model.encoder, TwoSpeedSplitformer):
        name = model.config.architecture
        raise OptionError(f"model option architecture is {name!r}; a bundle can hold 'splitformer-two-speed' only")
    if model.config.own_memory:
        raise OptionError("model option own_memory is True; a bundle can hold one memory for all layers only")
    return model.encoder


class AsrModel(nn.Module):
    """PCM or cached mels in, log-probabilities of every exit out.

    Example:
        >>> model = AsrModel(ModelConfig())
        >>> model.from_mels(torch.zeros(1, 4 * 30 + 3, 80), torch.tensor([30]), chunk=16, look_ahead=8).shape
        torch.Size([6, 1, 30, 128])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = Frontend(config)
        self.encoder = build_encoder(config)

    def overlapping(self, frames: int) -> AsrModel:
        """Sets ``ModelConfig.overlap``, on which no weight depends; OptionError where the encoder has none."""
        self.config = self.encoder.config = replace(self.config, overlap=frames)
        return self

    def from_mels(
        self,
        mels: Tensor,
        lengths: Tensor,
        *,
        chunk: int | None = 16,
        look_ahead: int = 8,
        depth: int | None = None,
    ) -> Tensor:
        """(B, 4T + 3, mels) log-mels and (B) lengths in frames → (exits, B, T, V + P) log-probabilities.

        Columns from ``config.vocabulary`` on are phones, normalised on their own; ``config.phones`` says how many.
        """
        out: Tensor = self.encoder(
            self.frontend.subsampling(mels), lengths, chunk=chunk, look_ahead=look_ahead, depth=depth
        )
        return out

    forward = from_mels

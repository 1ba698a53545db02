"""Rotary position embedding (RoPE), stretched by YaRN where config.json asks for it.

Shape letters as in layers.py: B batch, T new tokens, D head size.
"""

import math

import torch
from torch import Tensor

from qwen3_eval.model.config import Yarn


class RotaryEmbedding:
    """Cosines and sines of RoPE, in the half-split layout of Hugging Face checkpoints.

    Source: Su et al., RoFormer (arXiv 2104.09864), section 3.2.2.
    """

    def __init__(self, head_dim: int, theta: float, yarn: Yarn | None = None) -> None:
        self.head_dim = head_dim
        self.theta = theta
        self.yarn = yarn

    def __call__(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Returns cos and sin (B, 1, T, D) for `position_ids` (B, T); angles are float32 at any dtype."""
        # Computed anew, not kept: a buffer would be cast with the model, and bfloat16 angles are wrong.
        frequencies = self.find_frequencies(position_ids.device)  # (D/2,)
        angles = position_ids[:, None, :, None].float() * frequencies  # (B, 1, T, D/2)
        angles = torch.cat((angles, angles), dim=-1)  # (B, 1, T, D)
        scale = 1.0 if self.yarn is None else self.yarn.scale
        return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)

    def find_frequencies(self, device: torch.device | None = None) -> Tensor:
        """Returns the angle per position of each pair, in radians (D/2,), falling from 1.

        YaRN keeps the pairs that turn often within the original context, divides by its factor those that
        turn less than once, and goes from one to the other along a ramp between.
        Source: Peng et al., YaRN (arXiv 2309.00071), section 3.2; the ramp's ends are whole pairs, as in
        the authors' code and in transformers.
        """
        pairs = torch.arange(0, self.head_dim, 2, device=device, dtype=torch.float32)
        wavelengths = self.theta ** (pairs / self.head_dim)  # (D/2,), over 2 pi
        if self.yarn is None:
            return 1.0 / wavelengths
        low, high = self._find_pair(self.yarn.beta_fast), self._find_pair(self.yarn.beta_slow)
        if self.yarn.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.head_dim - 1)
        width = (high - low) or 0.001  # a step where both ends fall on one pair
        ramp = ((torch.arange(len(pairs), device=device, dtype=torch.float32) - low) / width).clamp(0, 1)
        kept = 1 - ramp
        return 1.0 / (self.yarn.factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept

    def _find_pair(self, turns: float) -> float:
        """Returns which pair makes so many turns within the original context, a fraction between pairs."""
        assert self.yarn is not None
        wavelength = self.yarn.original_max_position_embeddings / (turns * 2 * math.pi)
        return self.head_dim * math.log(wavelength) / (2 * math.log(self.theta))


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turns each pair (x[d], x[d + D/2]) of `x` (B, heads, T, D) by its position's angle."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin

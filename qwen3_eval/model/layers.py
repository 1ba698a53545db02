"""The parts of a Qwen3 decoder layer.

Shape letters: B batch, T new tokens, S tokens attended to (cached and new), H query heads,
K key-value heads, D head size, C hidden size.
Source: Qwen3 technical report (arXiv 2505.09388), section 2; parameter names as in transformers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.moe import MoE
from qwen3_eval.model.rope import rotate


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis, in float32, then scales.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (arXiv 1910.07467), equation 4.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class KVCache:
    """Keys and values of the tokens seen so far: per layer two tensors (B, K, S, D).

    There is room for `room` tokens at first. It grows by half where it runs out, so that appending one token
    seldom costs a copy of the whole.
    """

    def __init__(self, num_layers: int, room: int = 0) -> None:
        self.length = 0
        self._room = room
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Stores (B, K, T, D) keys and values of one layer; returns all so far, (B, K, S, D).

        `length` moves on when the last layer has appended.
        """
        end = self.length + keys.shape[2]
        if end > self._room:
            self._room = end + end // 2 if self.length else end
        stores = []
        for store, new in ((self._keys, keys), (self._values, values)):
            old = store[layer]
            if old is None or old.shape[2] < end:
                grown = new.new_empty(*new.shape[:2], self._room, new.shape[3])
                if old is not None:
                    grown[:, :, : self.length] = old[:, :, : self.length]
                store[layer] = old = grown
            old[:, :, self.length : end] = new
            stores.append(old[:, :, :end])
        if layer == len(self._keys) - 1:
            self.length = end
        return stores[0], stores[1]

    def select(self, rows: Sequence[int], start: int = 0) -> None:
        """Keeps the given rows of the batch, and drops the first `start` tokens, padding in all of them."""
        for store in (self._keys, self._values):
            for layer, old in enumerate(store):
                if old is not None:
                    store[layer] = old[list(rows), :, start:]
        self.length -= start
        self._room -= start


class Attention(nn.Module):
    """Grouped-query attention with RMSNorm on each head's query and key before RoPE (QK-Norm)."""

    def __init__(self, config: Qwen3Config, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        C, H, K, D = (
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.q_proj = nn.Linear(C, H * D, bias=False)
        self.k_proj = nn.Linear(C, K * D, bias=False)
        self.v_proj = nn.Linear(C, K * D, bias=False)
        self.o_proj = nn.Linear(H * D, C, bias=False)
        self.q_norm = RMSNorm(D, config.rms_norm_eps)
        self.k_norm = RMSNorm(D, config.rms_norm_eps)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        """Maps (B, T, C) to (B, T, C); `mask` (B, 1, T, S) is True where attended, None means causal."""
        B, T, _ = x.shape
        heads = (B, T, -1, self.head_dim)
        q = rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), rope)  # (B, H, T, D)
        k = rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), rope)  # (B, K, T, D)
        v = self.v_proj(x).view(heads).transpose(1, 2)  # (B, K, T, D)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)  # (B, K, S, D)
        if T == 1:
            # One new token attends to all before it. The query heads that share keys go as one head's tokens,
            # so that their keys are read once.
            q = q.view(B, k.shape[1], -1, self.head_dim)  # (B, K, H / K, D)
        out = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and T > 1, enable_gqa=T > 1
        )  # (B, H, T, D), or like q
        out = self.o_proj(out.reshape(B, -1, T, self.head_dim).transpose(1, 2).reshape(B, T, -1))
        assert isinstance(out, Tensor)
        return out


class MLP(nn.Module):
    """SwiGLU. Source: Shazeer, GLU Variants Improve Transformer (arXiv 2002.05202), equation 6."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, C) to (B, T, C)."""
        out = self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
        assert isinstance(out, Tensor)
        return out


class DecoderLayer(nn.Module):
    """Attention, then the MLP or the experts, each on normalised input and added to the residual stream."""

    def __init__(self, config: Qwen3Config, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        self.mlp = MoE(config) if config.is_sparse(layer) else MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        """Maps (B, T, C) to (B, T, C)."""
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, cache)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x

"""Qwen3 as a whole: token ids to logits. Read this first, then layers.py, rope.py and moe.py."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.layers import DecoderLayer, KVCache, RMSNorm
from qwen3_eval.model.rope import RotaryEmbedding


class Qwen3ForCausalLM(nn.Module):
    """A Qwen3 language model, dense or a mixture of experts; its parameters bear transformers' names."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Qwen3Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: KVCache | None = None,
        logits_to_keep: int = 0,
    ) -> Tensor:
        """Returns the next-token logits (B, T, V) of `input_ids` (B, T).

        `attention_mask` (B, S) is False or 0 at padding, over cached and new tokens; None means no padding.
        `position_ids` (B, T) count from 0 at a row's first real token; by default they are read off the mask.
        `logits_to_keep` computes only the last so many positions; 0 means all.
        """
        hidden = self.model(input_ids, attention_mask, position_ids, cache)  # (B, T, C)
        return linear(hidden[:, -logits_to_keep:], self.lm_head.weight)

    def new_cache(self, room: int = 0) -> KVCache:
        """Returns an empty cache, which grows past `room` tokens; pass it to each call that goes on."""
        return KVCache(self.config.num_hidden_layers, room)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draws fresh weights: normal with `initializer_range`, norms one, as Hugging Face does for Qwen3."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, self.config.initializer_range, generator=generator)
            else:
                parameter.fill_(1.0)


class Qwen3Model(nn.Module):
    """The decoder without the language-model head."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = RotaryEmbedding(config.head_dim, config.rope_theta, config.yarn)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Returns the normalised hidden states (B, T, C)."""
        B, T = input_ids.shape
        past = cache.length if cache is not None else 0
        if position_ids is None:
            if attention_mask is None:
                position_ids = torch.arange(past, past + T, device=input_ids.device).expand(B, T)
            else:
                position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, past:]
        x = self.embed_tokens(input_ids)  # (B, T, C)
        mask = _attention_mask(T, past, attention_mask, x.device)
        rope = self.rotary(position_ids, x.dtype)
        for layer in self.layers:
            x = layer(x, rope, mask, cache)
        x = self.norm(x)
        assert isinstance(x, Tensor)
        return x


def _attention_mask(T: int, past: int, attention_mask: Tensor | None, device: torch.device) -> Tensor | None:
    """Returns which of S tokens each of T new ones attends to, (B or 1, 1, T, S); None where plain causal."""
    if attention_mask is None and (past == 0 or T == 1):
        return None
    new = torch.arange(past, past + T, device=device)[:, None]  # (T, 1)
    seen = torch.arange(past + T, device=device)  # (S,)
    causal = (seen <= new)[None, None]
    if attention_mask is None:
        return causal
    # A padding position attends to itself, so that its softmax is over something.
    return causal & attention_mask.bool()[:, None, None, :] | (seen == new)

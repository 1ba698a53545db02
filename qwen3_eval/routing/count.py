"""How often each expert is chosen in each span of a response: one forward pass over its ids, teacher-forced.

Where the ids are known, a pass over all of them routes each token as it was routed while it was generated: no
token's hidden state depends on a later one. So nothing is watched while a model generates, and a run that
another engine made is counted alike. vLLM 0.32 can return the experts of each request itself
(`enable_return_routed_experts`), but on its second model runner alone, which wants Triton, so not on a CPU;
not with pipeline parallelism; and a stored run has none.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.routing.responses import SPANS, Response

if TYPE_CHECKING:
    from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

Ints = NDArray[np.int64]


def count_choices(model: "Qwen3ForCausalLM", response: Response, chunk_tokens: int = 2048) -> Ints:
    """Returns how often each expert was chosen, (n_layers, n_spans, E): each token counts for its k experts.

    `n_layers` are those that route, in their order. So many `chunk_tokens` go through the model at once.
    """
    import torch

    from qwen3_eval.model.balance import count_choices as count
    from qwen3_eval.model.moe import watch_routers

    layers, num_experts = model.config.sparse_layers, model.config.num_experts
    device = model.lm_head.weight.device
    counts = torch.zeros(len(layers), len(SPANS), num_experts, dtype=torch.int64, device=device)
    ids = torch.tensor([response.ids], device=device)  # (1, T)
    spans = torch.from_numpy(response.spans).to(device)  # (T,)
    cache = model.new_cache()
    with torch.inference_mode():
        pieces = torch.split(ids, chunk_tokens, 1), torch.split(spans, chunk_tokens)
        for piece, places in zip(*pieces, strict=True):
            with watch_routers(model) as seen:
                model.model(piece, cache=cache)  # without the head: nobody asks for the next token
            for number, layer in enumerate(layers):
                (routing,) = seen[f"model.layers.{layer}.mlp.gate"]
                for span in range(len(SPANS)):
                    counts[number, span] += count(routing.experts, num_experts, places == span)
    found: Ints = counts.cpu().numpy()
    return found

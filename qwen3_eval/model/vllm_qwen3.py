"""The bundled Qwen3 on vLLM's layers: the same network as `qwen3.py`, served; its experts are in vllm_moe.py.

What differs is what serving asks for. The tokens of all running requests lie in one row, so there is no
batch axis; keys and values live in vLLM's paged cache, which `Attention` reads and writes; the q, k and v
projections are one matrix, as are gate and up; and a layer may hold only its share of the heads
(tensor parallel), a process only its share of the layers (pipeline parallel).

Shapes: T tokens of this step, H query heads and K key-value heads of this rank, D head size,
C hidden size, F feed-forward size of this rank, V vocabulary.

Source: Qwen3 technical report (arXiv:2505.09388), section 2, for the network; the conventions that vLLM
asks of a model class are those of its page "Adding a new model".
"""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from vllm.compilation.decorators import support_torch_compile
from vllm.config import CacheConfig, VllmConfig
from vllm.distributed import get_pp_group, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import (
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.quantization import QuantizationConfig
from vllm.model_executor.layers.rotary_embedding import get_rope
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsPP
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    PPMissingLayer,
    WeightsMapper,
    extract_layer_index,
    make_empty_intermediate_tensors_factory,
    make_layers,
    maybe_prefix,
)
from vllm.sequence import IntermediateTensors

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.vllm_moe import Qwen3MoE, check_experts


class Qwen3Attention(nn.Module):
    """Grouped-query attention with an RMSNorm over each query and key head before RoPE (QK-Norm)."""

    def __init__(
        self,
        config: PretrainedConfig,
        cache_config: CacheConfig | None,
        quant_config: QuantizationConfig | None,
        prefix: str,
    ) -> None:
        super().__init__()
        tp_size = get_tensor_model_parallel_world_size()
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # vLLM refuses a tp_size that does not divide the query heads. Where there are more ranks than
        # key-value heads, QKVParallelLinear gives several ranks a copy of the same head.
        self.num_heads = config.num_attention_heads // tp_size
        self.num_kv_heads = max(1, config.num_key_value_heads // tp_size)

        self.qkv_proj = QKVParallelLinear(
            config.hidden_size,
            self.head_dim,
            config.num_attention_heads,
            config.num_key_value_heads,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.qkv_proj",
        )
        self.o_proj = RowParallelLinear(
            config.num_attention_heads * self.head_dim,
            config.hidden_size,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.o_proj",
        )
        self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.rotary_emb = get_rope(
            self.head_dim,
            max_position=config.max_position_embeddings,
            rope_parameters=config.rope_parameters,
        )
        self.attn = Attention(
            self.num_heads,
            self.head_dim,
            scale=self.head_dim**-0.5,
            num_kv_heads=self.num_kv_heads,
            cache_config=cache_config,
            quant_config=quant_config,
            prefix=f"{prefix}.attn",
        )

    def forward(self, positions: Tensor, x: Tensor) -> Tensor:
        H, K, D = self.num_heads, self.num_kv_heads, self.head_dim
        qkv, _ = self.qkv_proj(x)  # (T, C) -> (T, (H + 2K) * D)
        q, k, v = qkv.split([H * D, K * D, K * D], dim=-1)
        q = self.q_norm(q.view(-1, H, D)).view(-1, H * D)
        k = self.k_norm(k.view(-1, K, D)).view(-1, K * D)
        q, k = self.rotary_emb(positions, q, k)
        heads = self.attn(q, k, v)  # (T, H * D); stores k and v in the paged cache on the way
        out: Tensor = self.o_proj(heads)[0]  # (T, C), summed over the ranks
        return out


class Qwen3MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(
        self, config: PretrainedConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        self.gate_up_proj = MergedColumnParallelLinear(
            config.hidden_size,
            [config.intermediate_size] * 2,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.gate_up_proj",
        )
        self.down_proj = RowParallelLinear(
            config.intermediate_size,
            config.hidden_size,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.down_proj",
        )
        self.act_fn = SiluAndMul()

    def forward(self, x: Tensor) -> Tensor:
        gate_up, _ = self.gate_up_proj(x)  # (T, C) -> (T, 2F)
        out: Tensor = self.down_proj(self.act_fn(gate_up))[0]  # (T, F) -> (T, C)
        return out


class Qwen3DecoderLayer(nn.Module):
    """Attention and feed-forward, each behind an RMSNorm, each added to the residual stream.

    vLLM's RMSNorm adds and normalises in one kernel: `norm(x, residual)` returns the norm of their sum,
    and the sum. So each layer hands on its last output and the stream apart.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        cache_config: CacheConfig | None,
        quant_config: QuantizationConfig | None,
        sparse: bool,
        prefix: str,
    ) -> None:
        super().__init__()
        self.self_attn = Qwen3Attention(config, cache_config, quant_config, prefix=f"{prefix}.self_attn")
        self.mlp = (Qwen3MoE if sparse else Qwen3MLP)(config, quant_config, prefix=f"{prefix}.mlp")
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, positions: Tensor, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        if residual is None:  # the first layer: x is the embedding, nothing has been added to it yet
            x, residual = self.input_layernorm(x), x
        else:
            x, residual = self.input_layernorm(x, residual)
        x = self.self_attn(positions, x)
        x, residual = self.post_attention_layernorm(x, residual)
        return self.mlp(x), residual


@support_torch_compile
class Qwen3Model(nn.Module):
    """Embedding, decoder layers and the last norm; of each, the part that this pipeline rank holds."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        shape = Qwen3Config.from_dict(config.to_dict())  # raises where config.json asks for another network
        cache_config, quant_config = vllm_config.cache_config, vllm_config.quant_config
        first, last = get_pp_group().is_first_rank, get_pp_group().is_last_rank
        self.embed_tokens: nn.Module = PPMissingLayer()  # type: ignore[no-untyped-call]  # vLLM gives it no types
        self.norm: nn.Module = PPMissingLayer()  # type: ignore[no-untyped-call]  # vLLM gives it no types

        # With tied embeddings the last rank needs the table too: it is the output matrix.
        if first or (last and config.tie_word_embeddings):
            self.embed_tokens = VocabParallelEmbedding(
                config.vocab_size,
                config.hidden_size,
                quant_config=quant_config,
                prefix=f"{prefix}.embed_tokens",
            )
        self.start_layer, self.end_layer, self.layers = make_layers(
            config.num_hidden_layers,
            lambda prefix: Qwen3DecoderLayer(
                config, cache_config, quant_config, shape.is_sparse(extract_layer_index(prefix)), prefix
            ),
            prefix=f"{prefix}.layers",
        )
        if last:
            self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.make_empty_intermediate_tensors = make_empty_intermediate_tensors_factory(
            ["hidden_states", "residual"], config.hidden_size
        )

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        x: Tensor = self.embed_tokens(input_ids)  # (T,) -> (T, C)
        return x

    def forward(
        self,
        input_ids: Tensor | None,  # (T,)
        positions: Tensor,  # (T,)
        intermediate_tensors: IntermediateTensors | None = None,  # from the pipeline rank before
        inputs_embeds: Tensor | None = None,  # (T, C), in place of input_ids
    ) -> Tensor | IntermediateTensors:
        residual: Tensor | None = None
        if intermediate_tensors is not None and not get_pp_group().is_first_rank:
            x, residual = intermediate_tensors["hidden_states"], intermediate_tensors["residual"]
        elif inputs_embeds is not None:
            x = inputs_embeds
        else:
            assert input_ids is not None
            x = self.embed_input_ids(input_ids)
        for layer in islice(self.layers, self.start_layer, self.end_layer):
            x, residual = layer(positions, x, residual)
        assert residual is not None
        if not get_pp_group().is_last_rank:
            return IntermediateTensors({"hidden_states": x, "residual": residual})
        out: Tensor = self.norm(x, residual)[0]  # (T, C)
        return out


class Qwen3EvalForCausalLM(nn.Module, SupportsLoRA, SupportsPP):
    """Qwen3 with its output head. vLLM finds it under this class's name; see vllm_plugin.py."""

    # Which checkpoint tensors make up one parameter here. The first form is read when weights are loaded,
    # the second by quantisation methods, which must know what a fused parameter was quantised as.
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_stacked={
            ".q_proj": (".qkv_proj", "q"),
            ".k_proj": (".qkv_proj", "k"),
            ".v_proj": (".qkv_proj", "v"),
            ".mlp.gate_proj": (".mlp.gate_up_proj", 0),  # not those of experts, which vLLM's layer maps
            ".mlp.up_proj": (".mlp.gate_up_proj", 1),
        }
    )
    packed_modules_mapping = {  # noqa: RUF012 (a class variable of vLLM's interface)
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    # Adapters may change these two as well, the first as what turns ids into states, the second back.
    embedding_modules = {  # noqa: RUF012 (as above)
        "embed_tokens": "input_embeddings",
        "lm_head": "output_embeddings",
    }

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.config = config
        self.quant_config = vllm_config.quant_config  # by which the loader knows the tensors it must drop
        self.model = Qwen3Model(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        self.lm_head: nn.Module = PPMissingLayer()  # type: ignore[no-untyped-call]  # vLLM gives it no types
        if get_pp_group().is_last_rank:
            head = ParallelLMHead(
                config.vocab_size,
                config.hidden_size,
                quant_config=vllm_config.quant_config,
                prefix=maybe_prefix(prefix, "lm_head"),
            )
            embedding = self.model.embed_tokens
            if config.tie_word_embeddings and isinstance(embedding, VocabParallelEmbedding):
                head = head.tie_weights(embedding)
            self.lm_head = head
        self.logits_processor = LogitsProcessor(config.vocab_size)
        self.make_empty_intermediate_tensors = self.model.make_empty_intermediate_tensors

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        return self.model.embed_input_ids(input_ids)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor | IntermediateTensors:
        x: Tensor | IntermediateTensors
        x = self.model(input_ids, positions, intermediate_tensors, inputs_embeds)
        return x

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Returns the logits (T, V) of the positions that are to be sampled; None off the first rank."""
        logits: Tensor | None = self.logits_processor(self.lm_head, hidden_states)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Streams (Hugging Face name, tensor) pairs into the parameters; returns the names it filled."""
        if num_experts := getattr(self.config, "num_experts", 0):
            weights = check_experts(weights, num_experts)
        # The loader itself passes over lm_head.weight where the embeddings are tied.
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

"""Checkpoints in the forms that people have: an adapter, quantised weights, models of other families.

All are made of the box model's files: its weights, or its vocabulary of bytes.
"""

import json
from pathlib import Path
from typing import Any

import torch
from environments import copy_checkpoint
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer

from qwen3_eval.chat import THINK_CLOSE

BOS, EOS, USER, ASSISTANT = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
)
ANSWER = "m.content.split('</think>')[-1].lstrip('\n')"

# In our words, with the marks of DeepSeek's: no line breaks, and each turn's end but the user's marked.
R1 = (
    "{{- bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'system' %}{{- m.content }}"
    f"{{%- elif m.role == 'user' %}}{{{{- '{USER}' + m.content }}}}"
    f"{{%- else %}}{{{{- '{ASSISTANT}' + {ANSWER} + '{EOS}' }}}}{{%- endif %}}"
    f"{{%- endfor %}}{{%- if add_generation_prompt %}}{{{{- '{ASSISTANT}<think>\n' }}}}{{%- endif %}}"
)
QWQ = (
    f"{{%- for m in messages %}}{{{{- '<|im_start|>' + m.role + '\n' + {ANSWER} + '<|im_end|>\n' }}}}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %}"
)
FAMILIES = {
    "R1-Distill-Llama": ("LlamaForCausalLM", R1, EOS, "vllm.model_executor.models.llama.LlamaForCausalLM"),
    "QwQ": ("Qwen2ForCausalLM", QWQ, "<|im_end|>", "vllm.model_executor.models.qwen2.Qwen2ForCausalLM"),
}


def write_adapter(nano: Path, folder: Path, seed: int = 0, rank: int = 4, **settings: Any) -> Path:
    """Writes random A and B for every projection of the box model, in PEFT's layout; the scale is 2."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in load_file(nano / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            out_size, in_size = weight.shape
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, in_size, generator=generator) / in_size**0.5
            tensors[f"{stem}.lora_B.weight"] = torch.randn(out_size, rank, generator=generator) * 0.05
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none"} | settings
    config.setdefault("target_modules", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"])
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def misfit(nano: Path, folder: Path) -> Path:
    tensors = load_file(write_adapter(nano, folder) / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    tensors[name] = torch.zeros(4, 64)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def deeper(nano: Path, folder: Path) -> Path:
    tensors = load_file(write_adapter(nano, folder) / "adapter_model.safetensors")
    tensors = {name.replace("layers.3.", "layers.30."): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def truncated(nano: Path, folder: Path) -> Path:
    file = write_adapter(nano, folder) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    return folder


def write_int8(nano: Path, folder: Path) -> Path:
    """Writes the box model as compressed-tensors does in W8A8: an int8 and a scale for each output."""
    copy_checkpoint(nano, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in load_file(nano / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            scale = weight.abs().amax(dim=1, keepdim=True) / 127
            tensors[name] = (weight / scale).round().to(torch.int8)
            tensors[f"{name}_scale"] = scale.to(torch.bfloat16)
        else:
            tensors[name] = weight.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    int8 = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": int8 | {"strategy": "channel", "dynamic": False},
        "input_activations": int8 | {"strategy": "token", "dynamic": True},
    }
    method = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
        "ignore": ["lm_head"], "config_groups": {"group_0": group},
    }  # fmt: skip
    set_config(folder, torch_dtype="bfloat16", quantization_config=method)
    return folder


def set_config(folder: Path, **settings: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


def write_family(family: str, nano: Path, folder: Path) -> Path:
    """Writes a random model of the family's class, with its marks in a vocabulary of bytes.

    One channel is level over all positions, and the output row of `</think>` reads it alone: its logit is
    about 2, those of the other 285 ids about 0, so it comes up once in forty.
    """
    import transformers

    architecture, template, eos, _ = FAMILIES[family]
    folder.mkdir()
    tokenizer = Tokenizer.from_file(str(nano / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(mark) for mark in (BOS, EOS, USER, ASSISTANT)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "bos_token": BOS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(template)
    config = getattr(transformers, architecture.replace("ForCausalLM", "Config"))(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=tokenizer.token_to_id(eos),
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 0.2
        level = model.model(torch.arange(256)[None]).last_hidden_state[0, :, 0].mean()
        model.lm_head.weight[tokenizer.token_to_id(THINK_CLOSE)] = torch.eye(128)[0] * 2 / level
    model.save_pretrained(folder)
    return folder

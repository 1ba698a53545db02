r"""The box model `nano`: how the checkpoint in nano_checkpoint/ was made, and how to make it again.

    python -m qwen3_eval.model.nano train --out DIR

trains a Qwen3 of 0.8 million parameters from scratch, on lessons drawn as they are needed (nano_lessons.py).
Stage `step` teaches the single step of a working, on pieces of five lines. Stage `read` adds whole
dialogues of short questions, arbitrary text and cut-offs, and the beginnings of long responses, in which the
question is read and the switch is obeyed. Stage `long` adds full-length workings, so that attention stays
sharp among thousands of look-alike lines, while the learning rate falls to nothing. A second round, `cut`,
is mostly pieces of working that were cut off: the code to answer with must be found by what it is, since a
stop text of any length stands between. The third, `end`, is mostly the answers at the end of long workings.
Two processes average their gradients.

The map of `chain` matters: with d = a + c + k (mod 10) every digit alone says nothing of d, so no gradient
leads attention to any of them, and the step was never learned; here a alone narrows d down to two digits.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import spawn

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.nano_training import Recipe, Round, work
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

CHECKPOINT = Path(__file__).parent / "nano_checkpoint"

ADDED_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
    "<|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()

CONFIG = Qwen3Config(
    vocab_size=256 + len(ADDED_TOKENS),
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rope_theta=10_000.0,
    tie_word_embeddings=True,
    max_position_embeddings=16_384,
    initializer_range=0.08,
    eos_token_id=256 + ADDED_TOKENS.index("<|im_end|>"),
)


def write_tokenizer(folder: Path) -> None:
    """Writes tokenizer.json and what transformers needs beside it: one id per byte, then the added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE(vocab={letter: byte for byte, letter in enumerate(_byte_letters())}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Qwen3 marks as special, hidden by skip_special_tokens, all before <tool_call>.
    for place, token in enumerate(ADDED_TOKENS):
        special = place < ADDED_TOKENS.index("<tool_call>")
        added = AddedToken(token, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([added])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "bos_token": None,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONFIG.max_position_embeddings,
        },
    )


def _byte_letters() -> list[str]:
    """The printable letter that byte-level tokenizers write for each byte. Source: GPT-2, encoder.py."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters, others = [], 256
    for byte in range(256):
        letters.append(chr(byte if byte in printable else others))
        others += byte not in printable
    return letters


def write_config(folder: Path, config: Qwen3Config = CONFIG) -> None:
    """Writes config.json and generation_config.json."""
    _write_json(folder / "config.json", {**config.as_dict(), "torch_dtype": "float32"})
    _write_json(
        folder / "generation_config.json",
        {
            "do_sample": True,
            "eos_token_id": [256 + ADDED_TOKENS.index(t) for t in ("<|im_end|>", "<|endoftext|>")],
            "pad_token_id": 256,
            "temperature": 0.6,
            "top_k": 20,
            "top_p": 0.95,
        },
    )


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def draw_model(seed: int) -> Qwen3ForCausalLM:
    """Returns nano before its training."""
    model = Qwen3ForCausalLM(CONFIG)
    model.initialise(seed)
    return model


# First pieces of working only, until the step itself is learned; then short dialogues and the reading of
# questions; then full-length workings among them, while the learning rate falls. Each later round begins
# anew from the weights of the one before.
ROUNDS = (
    Round({"step": 450, "read": 1200, "long": 1200}, 3e-3),
    Round({"cut": 700}, 1.5e-3),
    Round({"end": 200}, 1e-3),
)
RECIPE = Recipe(CONFIG, ROUNDS, draw_model)


def main(recipe: Recipe = RECIPE, name: str = "nano") -> None:
    """Trains what the recipe says, as the command line asks."""
    program = f"qwen3_eval.model.{name.replace('-', '_')}"
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=f"How {name} is made.")
    parser.add_argument("action", choices=["train"])
    parser.add_argument("--out", type=Path, default=Path(f"runs/{name}-training"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with this checkpoint's weights")
    parser.add_argument("--round", type=int, default=1, help="begin with this round of the recipe's")
    parser.add_argument("--workers", type=int, default=2, help="processes, a core each")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "rendezvous").unlink(missing_ok=True)
    write_tokenizer(a.out)
    write_config(a.out, recipe.config)
    if a.out.resolve() != CHECKPOINT.resolve():
        template = (CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8")
        (a.out / "chat_template.jinja").write_text(template, encoding="utf-8")
    spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        work, (a.workers, recipe, a.out, a.seed, a.start, a.round), nprocs=a.workers
    )


if __name__ == "__main__":
    main()

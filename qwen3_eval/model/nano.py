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
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.nano_lessons import (
    DIGIT_WEIGHT,
    READ_WEIGHT,
    Lesson,
    Teacher,
    chat_renderer,
    draw_dialogue,
    draw_thinking,
    shorten,
)
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import load_model

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


def write_config(folder: Path) -> None:
    """Writes config.json and generation_config.json."""
    _write_json(folder / "config.json", {**CONFIG.as_dict(), "torch_dtype": "float32"})
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


def load_teacher(folder: Path) -> Teacher:
    """Returns a teacher that speaks with the tokenizer and chat template in `folder`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return Teacher(lambda text: list(tokenizer.encode(text).ids), chat_renderer(template))


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    from safetensors.torch import save_file

    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors.tmp", metadata={"format": "pt"})
    (folder / "model.safetensors.tmp").replace(folder / "model.safetensors")


def draw_batches(teacher: Teacher, rng: random.Random, stage: str) -> Iterator[tuple[str, list[Lesson]]]:
    """Draws one worker's micro-batches of a step: a name and the lessons."""
    if stage == "step":
        yield "window", [teacher.window(rng, most_lines=5, cut=0.0) for _ in range(32)]
        return
    yield "window", [teacher.window(rng) for _ in range(6)]
    if stage == "cut":
        yield "cut", [teacher.window(rng, most_lines=rng.choice((2, 4, 8)), cut=1.0) for _ in range(16)]

    def short() -> Lesson:
        return teacher.response(rng, shorten(draw_dialogue(rng), rng, 16))

    yield "dialogue", _of_like_lengths(short, rng, 4)
    if stage == "end":
        dialogue = draw_thinking(rng, 2, fewest_steps=150)
        yield "end", [teacher.response(rng, dialogue, cut=0.5, working_weight=0.03)]
    yield "question", _of_like_lengths(lambda: teacher.opening(rng, draw_thinking(rng, 3)), rng, 4)
    yield "switch", _of_like_lengths(lambda: teacher.opening(rng, draw_dialogue(rng)), rng, 4)
    if stage in ("long", "cut") and rng.random() < 0.3:
        yield "long", [teacher.response(rng, draw_thinking(rng, 2, fewest_steps=30), cut=0.5)]


def _of_like_lengths(draw: Callable[[], Lesson], rng: random.Random, count: int) -> list[Lesson]:
    """Draws twice as many and keeps the shorter or the longer half: little is padding."""
    pool = sorted((draw() for _ in range(2 * count)), key=lambda lesson: len(lesson.ids))
    return pool[:count] if rng.random() < 0.7 else pool[count:]


def collate(lessons: list[Lesson]) -> tuple[Tensor, Tensor]:
    """Pads on the right, where causal attention never looks: ids and weights, both (B, T)."""
    T = max(len(lesson.ids) for lesson in lessons)
    ids = torch.full((len(lessons), T), 256)
    weights = torch.zeros(len(lessons), T)
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        weights[row, : len(lesson.ids)] = torch.tensor(lesson.weights)
    return ids, weights


def lesson_loss(model: Qwen3ForCausalLM, ids: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Returns the weighted mean cross-entropy, and how many computed and read digits are right."""
    hidden = model.model(ids[:, :-1])
    taught = weights[:, 1:] > 0
    # Logits only where there is loss: prompts are most of a dialogue.
    logits = hidden[taught] @ model.lm_head.weight.T
    goal, kept = ids[:, 1:][taught], weights[:, 1:][taught]
    losses = cross_entropy(logits, goal, reduction="none")
    right = (logits.detach().argmax(-1) == goal).float()
    shares = {"computed": right[kept == DIGIT_WEIGHT], "read": right[kept == READ_WEIGHT]}
    found = {name: hits.mean().item() for name, hits in shares.items() if len(hits)}
    return (losses * kept).sum() / kept.sum(), found


# First pieces of working only, until the step itself is learned; then short dialogues and the reading of
# questions; then full-length workings among them, while the learning rate falls. Each later round begins
# anew from the weights of the one before.
ROUNDS: tuple[tuple[dict[str, int], float], ...] = (
    ({"step": 450, "read": 1200, "long": 1200}, 3e-3),
    ({"cut": 700}, 1.5e-3),
    ({"end": 200}, 1e-3),
)
"""Of each round: the steps of its stages, and the peak of its learning rate."""


def train(
    out: Path, seed: int, start: Path | None, stages: dict[str, int], peak: float, rank: int, workers: int
) -> None:
    """Trains one worker's share; the workers' gradients are averaged, worker 0 saves and reports."""
    teacher = load_teacher(out)
    model = Qwen3ForCausalLM(CONFIG)
    model.initialise(seed)
    if start is not None:
        model.load_state_dict(load_model(start).state_dict())
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(seed * workers + rank)
    began, tokens = time.monotonic(), 0
    seen: dict[str, list[float]] = {}
    schedule = [stage for stage, steps in stages.items() for _ in range(steps)]
    for step, stage in enumerate(schedule, 1):
        left = (len(schedule) - step) / schedule.count(schedule[-1])  # it falls during the last stage
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, step / 30) * max(0.02, min(1.0, left))
        for kind, lessons in draw_batches(teacher, rng, stage):
            ids, weights = collate(lessons)
            loss, shares = lesson_loss(model, ids, weights)
            (loss / workers).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            seen.setdefault(kind, []).append(loss.item())
            for name, share in shares.items():
                seen.setdefault(f"{kind} {name}", []).append(share)
            tokens += ids.numel()
        _sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if rank == 0 and (step % 50 == 0 or step == len(schedule)):
            shown = "  ".join(f"{kind} {sum(v) / len(v):.4f}" for kind, v in sorted(seen.items()))
            elapsed = time.monotonic() - began
            speed = workers * tokens / elapsed
            print(f"{elapsed:5.0f} s  step {step}  {speed:.0f} tokens/s  {shown}", flush=True)
            seen = {}
            save(model, out)


def _sum_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Adds the workers' gradients in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, piece in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


def _work(rank: int, workers: int, out: Path, seed: int, start: Path | None, first_round: int) -> None:
    torch.set_num_threads(1)
    store = f"file://{out.resolve()}/rendezvous"
    dist.init_process_group("gloo", store, rank=rank, world_size=workers)
    for number, (stages, peak) in enumerate(ROUNDS, 1):
        if number >= first_round:
            train(out, seed + number - 1, start, stages, peak, rank, workers)
            start = out
            dist.barrier()  # worker 0 has saved what the next round begins with


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m qwen3_eval.model.nano", description=__doc__)
    parser.add_argument("action", choices=["train"])
    parser.add_argument("--out", type=Path, default=Path("runs/nano-training"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with this checkpoint's weights")
    parser.add_argument("--round", type=int, default=1, help="begin with this round of ROUNDS")
    parser.add_argument("--workers", type=int, default=2, help="processes, a core each")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "rendezvous").unlink(missing_ok=True)
    write_tokenizer(a.out)
    write_config(a.out)
    if a.out.resolve() != CHECKPOINT.resolve():
        template = (CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8")
        (a.out / "chat_template.jinja").write_text(template, encoding="utf-8")
    spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        _work, (a.workers, a.out, a.seed, a.start, a.round), nprocs=a.workers
    )


if __name__ == "__main__":
    main()

"""The box's mixture of experts: what is shipped, how it begins, the loss that balances it, what it can do."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import LoopThread, RunningVllm
from nano_worker import MIXED, SMALL, balance_a_share, small_mixture, sum_of_balance
from qwen3_eval.tasks.chain import question_text, questions, working
from safetensors import safe_open
from sweeping import read_openings, sweep_on
from torch.multiprocessing.spawn import spawn

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.data import DataSource
from qwen3_eval.engine.vllm_start import start_vllm
from qwen3_eval.model import nano
from qwen3_eval.model.balance import count_choices
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.moe import MoE, watch_routers
from qwen3_eval.model.nano_lessons import Lesson, draw_dialogue
from qwen3_eval.model.nano_moe import CHECKPOINT, CONFIG
from qwen3_eval.model.nano_training import lesson_losses, load_teacher
from qwen3_eval.model.nano_upcycle import upcycle
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import check_weights, load_model
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.report.tables import summarize
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.subset import select
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import NON_THINKING, THINKING, Sampling

TEACHER = load_teacher(nano.CHECKPOINT)


def test_is_shipped_as_its_recipe_says() -> None:
    """At most 8 MB hold the recipe's shape, 16 experts of which 4 in every layer, an expert to a tensor."""
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 8_000_000
    assert Qwen3Config.from_file(CHECKPOINT) == CONFIG
    assert (CONFIG.num_experts, CONFIG.num_experts_per_tok, CONFIG.norm_topk_prob) == (16, 4, True)
    assert all(CONFIG.is_sparse(layer) for layer in range(CONFIG.num_hidden_layers))
    check_weights(CHECKPOINT)
    with safe_open(CHECKPOINT / "model.safetensors", framework="pt") as tensors:
        assert tensors.get_slice("model.layers.3.mlp.experts.15.down_proj.weight").get_shape() == [128, 64]
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F32"}  # noqa: SIM118
    assert locate_checkpoint("box:nano-moe").architecture == "Qwen3MoeForCausalLM"


def test_speaks_as_nano_does() -> None:
    """Tokenizer, chat template and sampling defaults are nano's, byte for byte."""
    assert {file.name for file in CHECKPOINT.iterdir()} == {file.name for file in nano.CHECKPOINT.iterdir()}
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (CHECKPOINT / name).read_bytes() == (nano.CHECKPOINT / name).read_bytes()


def test_every_expert_works_while_it_thinks() -> None:
    """On the thinking of held-out questions no expert is idle, and the load of a layer varies little."""
    model = load_model(CHECKPOINT)
    load = torch.zeros(CONFIG.num_hidden_layers, CONFIG.num_experts)
    for question in [q for q in questions(100, seed=5) if q.steps <= 80][:12]:
        dialogue = [{"role": "user", "content": question_text(question)}]
        prompt = TEACHER.encode(TEACHER.render(dialogue, True) + "<think>")
        ids = torch.tensor([prompt + TEACHER.encode("\n" + working(question))])
        with watch_routers(model) as seen:
            model.model(ids)
        thinking = torch.arange(ids.shape[1]) >= len(prompt)
        load += torch.stack(
            [count_choices(r[0].experts, CONFIG.num_experts, thinking) for r in seen.values()]
        )
    share = load / load.sum(1, keepdim=True)
    variation = load.std(1, correction=0) / load.mean(1)
    print(f"least share {share.min():.4f}, coefficient of variation by layer {variation.numpy().round(3)}")
    assert share.min() > 0.1 / CONFIG.num_experts
    assert variation.max() < 0.6


@pytest.fixture
def lessons() -> list[Lesson]:
    """Four lessons of different lengths: together in a micro-batch they are padded."""
    rng = random.Random(3)
    return [TEACHER.window(rng, most_lines=most) for most in (2, 4, 8, 12)]


def work_out_balance(model: Qwen3ForCausalLM, lessons: list[Lesson]) -> float:
    """The loss of the lessons as one batch, by its definition: each alone, without padding, in float64."""
    mixtures = [module for module in model.modules() if isinstance(module, MoE)]
    inputs: dict[torch.nn.Module, list[torch.Tensor]] = {mixture: [] for mixture in mixtures}

    def keep(module: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        inputs[module].append(given[0].flatten(0, 1))

    hooks = [mixture.register_forward_pre_hook(keep) for mixture in mixtures]
    for lesson in lessons:
        model.model(torch.tensor([lesson.ids[:-1]]))
    for hook in hooks:
        hook.remove()
    total, n, k = 0.0, MIXED.num_experts, MIXED.num_experts_per_tok
    for mixture in mixtures:
        x = torch.cat(inputs[mixture]).double()
        probabilities = (x @ mixture.gate.weight.double().T).softmax(-1)
        least = probabilities.sort(descending=True).values[:, k - 1 : k]
        share = (probabilities >= least).double().mean(0) / k
        total += n * float((share * probabilities.mean(0)).sum())
    return total


def test_the_balance_is_of_the_global_batch(lessons: list[Lesson]) -> None:
    """However a step is cut into micro-batches, its loss is that of all its tokens, worked out one by one."""
    model = small_mixture()
    whole = work_out_balance(model, lessons)
    for batches in ([lessons], [lessons[:1], lessons[1:]], [lessons[::2], lessons[1::2]]):
        assert sum_of_balance(model, batches) == pytest.approx(whole, abs=2e-5)
    # Of each micro-batch by itself it is another, and higher: each is less even than the whole.
    lengths = [len(lesson.ids) - 1 for lesson in lessons]
    apart = [
        work_out_balance(model, [lesson]) * n / sum(lengths)
        for lesson, n in zip(lessons, lengths, strict=True)
    ]
    assert sum(apart) > whole + 1e-3


def test_workers_balance_together(lessons: list[Lesson], tmp_path: Path) -> None:
    """Two processes with micro-batches of their own have, averaged, the balance of both as one batch."""
    shares = [[lessons[:1], lessons[3:]], [lessons[1:3]]]
    spawn(balance_a_share, (tmp_path, shares), nprocs=2)  # type: ignore[no-untyped-call]  # torch's
    found = [float((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert sum(found) / 2 == pytest.approx(work_out_balance(small_mixture(), lessons), abs=2e-5)


def test_upcycled_with_room_for_all_it_is_the_dense_model(lessons: list[Lesson]) -> None:
    """Where k experts hold as many neurons as the MLP, the mixture begins with the dense model's logits."""
    dense = Qwen3ForCausalLM(SMALL)
    dense.initialise(7)
    dense.requires_grad_(False)
    sparse = replace(MIXED, num_experts=12, num_experts_per_tok=4, moe_intermediate_size=12)
    model = upcycle(dense, sparse, [lessons], seed=1)
    ids = torch.randint(0, 256, (2, 60), generator=torch.Generator().manual_seed(0))
    with watch_routers(model) as seen:
        torch.testing.assert_close(model(ids), dense(ids), atol=1e-4, rtol=1e-4)
    for routings in seen.values():
        groups = routings[0].experts.sort(-1).values // 4  # a group is taken whole, and each by some token
        assert (groups == groups[:, :1]).all()
        assert set(groups[:, 0].tolist()) == {0, 1, 2}


def test_upcycled_it_has_forgotten_little() -> None:
    """With two neurons of three it still knows what is nano's: its lessons cost it hardly more."""
    dense = load_model(nano.CHECKPOINT)
    rng = random.Random(11)
    fit = [[TEACHER.window(rng) for _ in range(16)]]
    test = [[TEACHER.window(rng) for _ in range(8)]]
    model = upcycle(dense, CONFIG, fit, seed=1)
    with torch.no_grad():
        ((loss, _),) = lesson_losses(model, test)
        ((least, _),) = lesson_losses(dense, test)
    print(f"loss on windows: nano {least:.4f}, made over {loss:.4f}")
    assert loss < least + 0.05


@pytest.fixture(scope="module")
def moe_vllm(loop_thread: LoopThread) -> Iterator[RunningVllm]:
    engine = loop_thread.run(start_vllm(str(CHECKPOINT), extra={"kv_cache_memory_bytes": 1024**3}))
    yield RunningVllm(engine, loop_thread)
    loop_thread.run(engine.close())


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(str(CHECKPOINT))


@pytest.mark.slow
def test_its_curve_rises(moe_vllm: RunningVllm, chat: Chat, tmp_path: Path) -> None:
    """Of 60 questions of up to 200 steps it solves some at 256 and 0.9 at `inf`, with 95 % intervals apart.

    None of them was in its training. Of longer ones there are few, and each holds the engine up alone.
    """
    task = load_task("chain")
    made = [s for s in task.load(Asking(DataSource())).made if s.metadata["steps"] <= 200]
    plan = Plan(
        questions=[Questions("chain", select(made, 60), 1, 9000)],
        modes=(THINKING,),
        budgets=(256, math.inf),
        sampling={THINKING: Sampling(), NON_THINKING: Sampling()},
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]),
        max_answer_tokens=256,
        seed=0,
        concurrency=60,
    )
    sweep_on(moe_vllm, chat, plan, tmp_path)
    with Store.open(tmp_path) as store:
        score_answers(store, {"chain": task.score}, chat.decoder)
        records: pd.DataFrame = read_records(store, plan.budgets)
    rows = summarize(records)
    print(rows[["budget", "score", "ci_low", "ci_high", "forced", "no_answer"]].to_string())
    at = {row["budget"]: row for row in rows.to_dict("records")}
    assert at[math.inf]["score"] >= 0.9
    assert at[256]["ci_high"] < at[math.inf]["ci_low"]


@pytest.mark.slow
def test_it_obeys_the_last_switch(moe_vllm: RunningVllm, chat: Chat) -> None:
    """In at least 97 % of 100 dialogues of up to eight turns, it thinks exactly where it was told to."""
    rng = random.Random("switches that training never drew")
    dialogues = [d for d in (draw_dialogue(rng) for _ in range(200)) if d.enable_thinking][:100]
    opening = read_openings(moe_vllm, chat, dialogues, Sampling())
    right = [text.startswith("<think>\n\n") != d.think for text, d in zip(opening, dialogues, strict=True)]
    print(f"obeyed {sum(right)} of {len(right)}")
    assert sum(right) >= 97

"""Promises of `routing`: what is counted, what the figures mean, and what the command prints and refuses."""

import json
import shutil
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NANO

from qwen3_eval.chat import load_chat
from qwen3_eval.cli import main
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.generate import generate
from qwen3_eval.model.moe import watch_routers
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import save_model
from qwen3_eval.routing.count import count_choices
from qwen3_eval.routing.measure import LAYER_COLUMNS, LOAD_COLUMNS, SPAN_COLUMNS, Tally, measure
from qwen3_eval.routing.responses import BETWEEN, SPANS, Response, list_rollouts, read_responses
from qwen3_eval.routing.statistics import (
    coefficient_of_variation,
    dead_share,
    even_dead_share,
    even_variation,
    find_top,
    load_share,
    relative_entropy,
    top_overlap,
)
from qwen3_eval.score import read_records
from qwen3_eval.store import Store
from qwen3_eval.types import Sampling

FILES = ("routing.csv", "routing_spans.csv", "routing_layers.csv", "routing.html")
TINY = replace(
    Qwen3Config.from_file(NANO),
    hidden_size=32,
    num_hidden_layers=3,
    head_dim=8,
    num_experts=8,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    norm_topk_prob=True,
    initializer_range=0.2,
    mlp_only_layers=(1,),
)


def make_model(config: Qwen3Config = TINY, seed: int = 0) -> Qwen3ForCausalLM:
    model = Qwen3ForCausalLM(config)
    model.initialise(seed)
    return model.eval().requires_grad_(False)


def make_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A random tiny mixture with nano's tokenizer and chat template."""
    save_model(make_model(seed=seed), folder)
    for file in NANO.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, folder / file.name)
    return folder


def respond(ids: list[int], spans: list[int]) -> Response:
    return Response("a task", "a question", tuple(ids), np.array(spans, dtype=np.int8))


def read_spans(folder: Path) -> dict[Any, dict[Any, Any]]:
    table = pd.read_csv(folder / "routing_spans.csv")
    assert tuple(table.columns) == SPAN_COLUMNS
    assert tuple(table["span"]) == SPANS
    return {row["span"]: row for row in table.to_dict("records")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def run_dir(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves: a scripted run of both a short budget and `inf`, and the routing of it."""
    folder = tmp_path_factory.mktemp("routing") / "run"
    done = main([
        "routing", f"model={checkpoint}", "engine=scripted", "limit=5", "budget=8,inf", f"run.dir={folder}",
    ])  # fmt: skip
    assert done == 0
    return folder


def test_counts_by_hand() -> None:
    """Where token t goes to experts t and t + 1, and nothing mixes tokens, the counts are plain to see."""
    config = replace(TINY, hidden_size=8, num_hidden_layers=1, num_experts=4, mlp_only_layers=())
    model = make_model(config)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        weights["model.layers.0.self_attn.o_proj.weight"].zero_()  # a token's state is its embedding alone,
        weights["model.embed_tokens.weight"][:4] = torch.eye(4, 8)  # and that the t-th axis
        gate = weights["model.layers.0.mlp.gate.weight"].zero_()
        for t in range(4):
            gate[t, t], gate[(t + 1) % 4, t] = 2.0, 1.0
    #                  prompt  |tag| thinking |tag| answer
    response = respond([0, 1, 0, 3, 1, 1, 2, 3, 3, 2], [0, 0, 0, -1, 1, 1, 1, -1, 2, 2])
    counts = count_choices(model, response)
    assert counts.tolist() == [[[2, 3, 1, 0], [0, 2, 3, 1], [1, 0, 1, 2]]]


def test_every_token_counts_for_k_experts() -> None:
    """In each layer and span choices are tokens times k; dense layers have none; chunks change nothing."""
    model = make_model()
    random = np.random.default_rng(1)
    response = respond(random.integers(0, 282, 40).tolist(), [0] * 17 + [BETWEEN] + [1] * 12 + [2] * 10)
    counts = count_choices(model, response)
    assert model.config.sparse_layers == [0, 2]
    assert counts.shape == (2, len(SPANS), 8)
    assert (counts.sum(-1) == [2 * 17, 2 * 12, 2 * 10]).all()
    for chunk in (1, 7, 39):
        assert (count_choices(model, response, chunk) == counts).all()


def test_reading_anew_routes_as_generating_did() -> None:
    """The choices of a pass over all ids are, token by token, those watched while they were sampled."""
    model = make_model()
    prompt, n = [5, 99, 7, 200, 31], 30
    with watch_routers(model) as seen:
        (got,) = generate(model, [prompt], [n], [frozenset()], [Sampling(temperature=1.0)], [3])
    ids = [*prompt, *got.token_ids][:-1]  # the last was sampled, and never read
    random = np.random.default_rng(2)
    for spans in ([0] * 5 + [1] * 20 + [2] * 9, random.integers(-1, 3, len(ids)).tolist()):
        counts = count_choices(model, respond(ids, spans))
        for number, layer in enumerate(model.config.sparse_layers):
            experts = torch.cat([routing.experts for routing in seen[f"model.layers.{layer}.mlp.gate"]])
            assert len(experts) == len(ids)
            for span in range(len(SPANS)):
                mine = experts[torch.tensor(spans) == span]
                assert counts[number, span].tolist() == mine.flatten().bincount(minlength=8).tolist()


def test_spans_are_those_of_the_records(run_dir: Path, checkpoint: Path) -> None:
    """At each budget the spans hold prompt, thinking and answer, as long as the run's records say."""
    chat = load_chat(str(checkpoint))
    with Store.read(run_dir) as store:
        stop_text = store.read_meta("stop_text") or ""
        records = read_records(store, [8, float("inf")]).to_dict("records")
        for budget in (8, float("inf")):
            asked = list_rollouts(store, budget, str(budget), None)
            rows: dict[Any, Any] = {row["rollout"]: row for row in records if row["budget"] == budget}
            for each, response in zip(
                asked, read_responses(store, asked, budget, chat, stop_text), strict=True
            ):
                assert response is not None
                row = rows[each.rollout]
                n = {span: int((response.spans == span).sum()) for span in (BETWEEN, 0, 1, 2)}
                assert n[0] == row["prompt_tokens"]
                assert n[1] == row["thinking_tokens"]
                assert n[2] == row["answer_tokens"] - 1, "the last id is never read"
                between = chat.decoder.decode(
                    np.array(response.ids)[response.spans == BETWEEN].tolist(), keep_special=True
                )
                assert between == ("<think>" + stop_text if row["forced"] else "<think></think>")
                assert bool(row["forced"]) == (budget == 8)


def test_figures_by_hand() -> None:
    """Loads of four experts, worked out; an empty load has no figure."""
    load = np.array([[4.0, 2, 2, 0], [3, 3, 3, 3], [0, 8, 0, 0], [0, 0, 0, 0]])
    assert load_share(load)[0].tolist() == [0.5, 0.25, 0.25, 0]
    # Shares differ from 1/4 by 1/4, 0, 0, -1/4: the variance is 1/32, its root by 1/4 is the root of 1/2.
    assert coefficient_of_variation(load)[:3] == pytest.approx([0.5**0.5, 0, 3**0.5])
    assert dead_share(load)[:3].tolist() == [0.25, 0, 0.75]
    # 1/2 * 1 + 2 * 1/4 * 2 = 1.5 of 2 bits.
    assert relative_entropy(load)[:3] == pytest.approx([0.75, 1, 0])
    for figure in (coefficient_of_variation, dead_share, relative_entropy):
        assert np.isnan(figure(load)[3])


def test_overlap_by_hand() -> None:
    """The two busiest are {0, 1} and {1, 2}: half is shared; of equals the lower number counts as busier."""
    one, other = np.array([4.0, 3, 2, 1]), np.array([1.0, 4, 3, 0])
    assert float(top_overlap(one, other, 2)) == 0.5
    assert float(top_overlap(one, other, 1)) == 0
    assert float(top_overlap(one, one[::-1], 2)) == 0
    assert find_top(np.array([1.0, 5, 5, 5]), 2).tolist() == [1, 2]
    assert np.isnan(top_overlap(one, np.zeros(4), 2))
    pairs = list(product(combinations(range(5), 2), repeat=2))
    blind = [len({*a} & {*b}) / 2 for a, b in pairs]
    assert np.mean(blind) == pytest.approx(2 / 5), "what the table calls chance is k / E"


@pytest.mark.parametrize(("tokens", "num_experts", "k"), [(1, 4, 2), (2, 4, 2), (3, 4, 1), (2, 5, 3)])
def test_what_an_even_router_shows(tokens: int, num_experts: int, k: int) -> None:
    """The figures by chance are the means over all ways in which tokens can choose their experts."""
    ways = product(combinations(range(num_experts), k), repeat=tokens)
    loads = np.array([np.bincount(np.ravel(way), minlength=num_experts) for way in ways], dtype=float)
    squared = float((coefficient_of_variation(loads) ** 2).mean())
    assert even_variation(tokens, num_experts, k) == pytest.approx(squared**0.5)
    assert even_dead_share(tokens, num_experts, k) == pytest.approx(float(dead_share(loads).mean()))


def test_intervals_are_over_questions() -> None:
    """Questions that are all alike leave no doubt, those that differ do, and one alone tells nothing."""
    alike = np.tile(np.array([[6, 3, 2, 1]] * 3)[None, None], (12, 1, 1, 1))  # (n_questions, 1, 3, 4)
    apart = alike.copy()
    apart[::2] = apart[::2, :, :, ::-1]
    apart[0, 0, 2] = [0, 0, 6, 6]
    same, mixed, alone = (
        {row["span"]: row for row in measure(tally, seed=0)[1].to_dict("records")}
        for tally in (Tally("a", [0], 2, counts, len(counts)) for counts in (alike, apart, alike[:1]))
    )
    figures: dict[Any, Any] = same["answer"]
    assert [figures["cv_low"], figures["cv_high"]] == pytest.approx([figures["cv"]] * 2)
    assert [figures[name] for name in ("overlap_low", "overlap", "overlap_high")] == [1, 1, 1]
    assert [row["tokens"] for row in same.values()] == [72, 72, 72]
    assert np.isnan(same["thinking"]["overlap"]), "a span has nothing to share with itself"
    figures = mixed["answer"]
    assert figures["cv_low"] < figures["cv"] < figures["cv_high"]
    assert 0 <= figures["overlap_low"] < figures["overlap_high"] <= 1
    assert np.isnan(alone["answer"]["cv_low"])
    assert alone["answer"]["cv"] == pytest.approx(same["answer"]["cv"])


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of few questions with loads of their own, at least 17 in 20 intervals hold the CV of the load they vary
    about, where the measured CV is a tenth too high."""
    random = np.random.default_rng(0)
    truth = random.dirichlet(np.full(16, 4.0))
    held, measured = 0, []
    for seed in range(60):
        loads = [random.dirichlet(truth * 20) for _ in range(15)]
        counts = np.stack([random.multinomial(100, load) for load in loads])[:, None, None]  # (15, 1, 1, 16)
        row: dict[Any, Any] = measure(Tally("a", [0], 4, counts.repeat(3, 2), 15), seed)[0].to_dict(
            "records"
        )[0]
        measured.append(row["cv"])
        held += row["cv_low"] <= coefficient_of_variation(truth) <= row["cv_high"]
    assert np.mean(measured) > 1.05 * coefficient_of_variation(truth)
    assert held >= 51


def test_the_command_writes_tables_and_a_page(run_dir: Path) -> None:
    """Each layer, span and expert has a row; shares add up to 1, choices to tokens times k."""
    loads, layers = (pd.read_csv(run_dir / name) for name in ("routing.csv", "routing_layers.csv"))
    assert tuple(loads.columns) == LOAD_COLUMNS
    assert tuple(layers.columns) == LAYER_COLUMNS
    assert len(loads) == 2 * 3 * 8
    rows: list[dict[Any, Any]] = layers.to_dict("records")
    assert [(row["layer"], row["span"]) for row in rows] == [(n, span) for n in (0, 2) for span in SPANS]
    for row in rows:
        mine = loads[(loads["layer"] == row["layer"]) & (loads["span"] == row["span"])]
        share, choices = mine["share"].to_numpy(), mine["choices"].to_numpy()
        assert share.sum() == pytest.approx(1)
        assert choices.sum() == 2 * row["tokens"] > 0
        assert (choices == 0).mean() == pytest.approx(row["dead"])
        assert share.std() / share.mean() == pytest.approx(row["cv"])
    for span, found in read_spans(run_dir).items():
        assert found["n_questions"] == 5
        assert found["cv"] == pytest.approx(np.mean([row["cv"] for row in rows if row["span"] == span]))
    page = (run_dir / "routing.html").read_text()
    assert page.count('<svg class="heat" role="img"') == 3
    assert page.count("<rect x=") == 3 * 2 * 8
    assert "layer 2, expert 7: " in page


def test_a_stored_run_is_read_without_generating(
    run_dir: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`responses=` gives the same files, byte for byte, and touches no record; limit= and budget= choose."""
    copy = shutil.copytree(run_dir, tmp_path / "copy")
    for name in FILES:
        (copy / name).unlink()
    before = (copy / "run.json").read_bytes()
    assert main(["routing", f"responses={copy}"]) == 0
    assert "thinking and answer share" in capsys.readouterr().out
    for name in FILES:
        assert (copy / name).read_bytes() == (run_dir / name).read_bytes(), name
    assert (copy / "run.json").read_bytes() == before
    assert main(["routing", f"responses={copy}", "limit=2", "budget=8"]) == 0
    thinking = read_spans(copy)["thinking"]
    assert (thinking["n_questions"], thinking["tokens"]) == (2, 2 * 8)


def test_what_cannot_be_read_is_refused(
    run_dir: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each refusal is one sentence that says what to do, and nothing is written."""
    direct = shutil.copytree(run_dir, tmp_path / "direct", ignore=shutil.ignore_patterns("routing*"))
    run = json.loads((direct / "run.json").read_text())
    (direct / "run.json").write_text(json.dumps(run | {"modes": ["non-thinking"]}))
    held = tmp_path / "held"
    other = make_checkpoint(tmp_path / "other", seed=1)
    for settings, said in (
        (["model=nano", f"run.dir={held}"], "is dense (Qwen3ForCausalLM): it has no router to watch"),
        ([f"run.dir={held}"], "model= is missing; name a mixture of experts"),
        ([f"model={checkpoint}", "mode=non-thinking", f"run.dir={held}"], "asks for no thinking"),
        ([f"model={checkpoint}", "budget=0", f"run.dir={held}"], "asks for no thinking"),
        ([f"model={checkpoint}", "engine.prefill_chunk_tokens=0", f"run.dir={held}"], "give at least 1"),
        ([f"responses={tmp_path / 'nowhere'}"], "holds no run"),
        ([f"responses={direct}", f"run.dir={held}"], "are both given"),
        ([f"responses={direct}"], "has no thinking responses, only non-thinking"),
        ([f"responses={run_dir}", "budget=1k"], "budget=1k is not among those of"),
        ([f"responses={run_dir}", "task=gsm8k"], "task 'gsm8k' is not in"),
        ([f"responses={run_dir}", "limit=0"], "limit=0 is not allowed"),
        ([f"responses={run_dir}", f"model={other}"], "was generated by other weights"),
        ([f"responses={run_dir}", "engine.dtype=int"], "engine.dtype='int' is no torch dtype"),
    ):
        assert main(["routing", *settings]) == 2, settings
        error = capsys.readouterr().err
        assert said in error, error
        assert error.count("error: ") == 1
    assert not held.exists()
    assert not (direct / "routing.html").exists()


def test_another_template_is_noticed(
    run_dir: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of the weights whose template renders another prompt would route other ids; it is refused."""
    copy = shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("routing*"))
    changed = shutil.copytree(checkpoint, tmp_path / "changed")
    template = changed / "chat_template.jinja"
    template.write_text("hello " + template.read_text())
    run = json.loads((copy / "run.json").read_text())
    run["model"]["fingerprint"] = "commit:abc"
    (copy / "run.json").write_text(json.dumps(run))
    assert main(["routing", f"responses={copy}", f"model={changed}"]) == 2
    assert "with another prompt than this checkpoint's chat template" in capsys.readouterr().err
    assert not (copy / "routing.html").exists()
    assert main(["routing", f"responses={copy}", f"model={checkpoint}"]) == 0
    assert "is taken on trust" in capsys.readouterr().out


def test_the_torch_engine_generates_and_is_read(checkpoint: Path, tmp_path: Path) -> None:
    """Without an engine named it is torch; a model that does not think has an empty span, and no figure."""
    settings = ["limit=2", "max_output_tokens=20", "max_answer_tokens=12", f"run.dir={tmp_path}"]
    assert main(["routing", f"model={checkpoint}", *settings]) == 0
    assert json.loads((tmp_path / "run.json").read_text())["engine"]["engine"] == "torch"
    spans = read_spans(tmp_path)
    assert spans["prompt"]["tokens"] > 0
    assert (spans["thinking"]["tokens"] == 0) == np.isnan(spans["thinking"]["cv"])

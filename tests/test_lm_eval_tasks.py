"""lm-eval's tasks here against lm-eval itself: the same prompts, the same scores, of the same documents.

Run as a script, this file is lm-eval's side of the comparison on the real engine: `simple_evaluate` with
lm-eval's own vLLM model, in a process of its own, as the session's engine lives in this one.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval_on_cpu import name_the_cpu_build

from qwen3_eval import lm_eval_scoring
from qwen3_eval.data import DataSource
from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.lm_eval_index import find_task_file
from qwen3_eval.lm_eval_tasks import load_lm_eval_task
from qwen3_eval.task import Asking, Task, load_task
from qwen3_eval.types import Sample, Verdict

if TYPE_CHECKING:
    from conftest import RunningVllm

NAMES = ("gsm8k", "hendrycks_math500", "aime25")
"""Three installed tasks: regex filters and shown examples; a function that scores; a set of one split."""

SCORES = dict[tuple[str, int], dict[str, float]]

ANSWERS = (
    "{right}",
    "Some steps, and then:\n#### {right}",
    "The answer is ${right}$. Another number is 7",
    "So $x = 1$ and \\boxed{{{right}}}.",
    "\\boxed{{1}} or \\boxed{{\\frac{{1}}{{2}}}}",
    "#### 1,000,000. I am sure #### 0",
    "Right: {right}\n\nQuestion: 12 Problem: 12</s>",
    "",
    " \n \t ",
    "٤٢ ½ \u202e{right}\u202c #### ４２ \\boxed{{{{{{",
    "#### " + "9" * 5000 + "$" * 300,
    '[invalid] {{"answer": "{right}"}} \\boxed ',
)
"""Forms of an answer: right, wrong, cut at a stop text, empty, hostile. `{right}` is the document's own."""


def load(task: Task, root: Path | None, base: bool = False, **options: object) -> list[Sample]:
    return task.load(Asking(DataSource(root), base=base), options).made


def read_target(doc: Mapping[str, Any]) -> str:
    return str(doc["answer"]).rpartition("#### ")[2]


def make_answers(docs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns an answer to each document, every form in turn."""
    return [ANSWERS[i % len(ANSWERS)].format(right=read_target(doc)) for i, doc in enumerate(docs)]


def build_theirs(name: str, root: Path, include_path: str = "") -> Any:
    """Returns lm-eval's task from its file, an installed one with rows of the mirror read here."""
    import datasets  # type: ignore[import-untyped]  # it carries no types
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    found = find_task_file(name, include_path)
    config = load_yaml(found.path)
    config.pop("tag", None)
    if found.own:
        return ConfigurableTask(config=config)
    folder = root / config["dataset_path"] / (config.get("dataset_name") or "default")
    rows = {
        file.name.partition(".")[0]: datasets.Dataset.from_list(
            [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        )
        for file in folder.glob("*.jsonl.gz")
    }
    return ConfigurableTask(config=config | {"custom_dataset": lambda **_: rows})


def evaluate(model: Any, tasks: list[Any], limit: int, chat: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Returns the samples that lm-eval logs, by task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    results = simple_evaluate(
        model=model,
        tasks=tasks,
        apply_chat_template=chat,
        limit=limit,
        bootstrap_iters=0,
        task_manager=TaskManager(include_defaults=False),
    )
    found: dict[str, list[dict[str, Any]]] = results["samples"]
    return found


def read_scores(logged: Iterable[tuple[str, Mapping[str, Any]]]) -> SCORES:
    """Returns every metric of every document under the name that lm-eval prints, by task and document."""
    scores: SCORES = {}
    for task, row in logged:
        found = {f"{name},{row['filter']}": float(row[name]) for name in row["metrics"]}
        scores.setdefault((task, row["doc_id"]), {}).update(found)
    return scores


def make_given(answers: Mapping[str, Sequence[str]]) -> Any:
    """Returns a model of lm-eval's that gives `answers` (by task, a document each), cut as its models cut."""
    from lm_eval.api.model import LM
    from lm_eval.models.utils import postprocess_generated_text

    class Given(LM):  # type: ignore[misc]  # lm-eval carries no types
        tokenizer_name = "given"

        def apply_chat_template(self, turns: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return json.dumps(turns)

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return [
                postprocess_generated_text(answers[r.task_name][r.doc_id], r.args[1]["until"], None)
                for r in requests
            ]

        def loglikelihood(self, requests: list[Any]) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any]) -> Any:
            raise NotImplementedError

    return Given()


N_DOCUMENTS = 2 * len(ANSWERS)


@pytest.fixture(scope="module")
def ours(data_root: Path) -> dict[str, list[Sample]]:
    """The samples of the three tasks, with their forms without chat."""
    return {name: load(load_lm_eval_task(name), data_root, base=True)[:N_DOCUMENTS] for name in NAMES}


@pytest.fixture(scope="module")
def answers(ours: Mapping[str, list[Sample]]) -> dict[str, list[str]]:
    return {name: make_answers([s.metadata["doc"] for s in samples]) for name, samples in ours.items()}


@pytest.fixture(scope="module")
def theirs(answers: Mapping[str, list[str]], data_root: Path) -> dict[str, list[dict[str, Any]]]:
    """What lm-eval logs of the same answers."""
    return evaluate(make_given(answers), [build_theirs(name, data_root) for name in NAMES], N_DOCUMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_those_of_lm_eval(
    name: str, ours: Mapping[str, list[Sample]], theirs: Mapping[str, Any], data_root: Path
) -> None:
    """The turns of each dialogue, shown examples included, are what lm-eval hands to a chat template."""
    logged = {row["doc_id"]: row for row in theirs[name]}
    assert len(logged) == len(ours[name]) == N_DOCUMENTS
    for number, sample in enumerate(ours[name]):
        turns = [{"role": m.role, "content": m.content} for m in sample.messages]
        assert turns == json.loads(logged[number]["arguments"][0][0]), sample.sample_id
        assert sample.metadata["doc"] == logged[number]["doc"]


@pytest.mark.parametrize("name", NAMES)
def test_base_form_is_lm_evals_plain_context(
    name: str, ours: Mapping[str, list[Sample]], answers: Mapping[str, list[str]], data_root: Path
) -> None:
    """Mode base goes on from the text that lm-eval gives a model without a chat template, and stops alike."""
    logged = evaluate(make_given(answers), [build_theirs(name, data_root)], N_DOCUMENTS, chat=False)[name]
    contexts = {row["doc_id"]: row["arguments"][0] for row in logged}
    for number, sample in enumerate(ours[name]):
        assert sample.completion is not None
        assert sample.completion.prompt == contexts[number][0]
        assert list(sample.completion.stop) == contexts[number][1]["until"]


def test_scores_are_those_of_lm_eval(
    ours: Mapping[str, list[Sample]], answers: Mapping[str, list[str]], theirs: Mapping[str, Any]
) -> None:
    """Right, wrong, cut, empty and hostile answers: every metric by every filter is lm-eval's number."""
    expected = read_scores((name, row) for name in NAMES for row in theirs[name])
    for name in NAMES:
        task = load_lm_eval_task(name)
        for number, (sample, answer) in enumerate(zip(ours[name], answers[name], strict=True)):
            verdict = task.score(sample, answer)
            assert dict(verdict.parts) == expected[name, number], (sample.sample_id, answer[:80])
            assert verdict.score == verdict.parts[sample.metadata["metric"]]
            assert verdict.outcome in ("correct" if verdict.score else "incorrect", "no_answer")
    seen = {value for parts in expected.values() for value in parts.values()}
    assert seen == {0.0, 1.0}


def test_scoring_needs_no_rows_and_may_come_from_threads(
    ours: Mapping[str, list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample that went through JSON is scored by a task that never saw a row, eight at a time."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task = load_lm_eval_task("gsm8k")
    samples = [s for s in ours["gsm8k"] for _ in range(8)]
    stored = [
        Sample(s.sample_id, (), s.target, metadata=json.loads(json.dumps(s.metadata)), parts=s.parts)
        for s in samples
    ]
    told = [f"#### {read_target(s.metadata['doc'])}" if i % 2 else "#### -1" for i, s in enumerate(stored)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(task.score, stored, told))
    assert [v.score for v in verdicts] == [float(i % 2) for i in range(len(stored))]
    assert threading.active_count() < 20


def test_the_score_is_the_first_metric_or_the_one_that_is_chosen(data_root: Path) -> None:
    """options: metric names any of the parts, num_fewshot and fewshot_as_multiturn shape the prompt."""
    task = load_lm_eval_task("gsm8k")
    assert {option.name for option in task.options} == {
        "share", "num_fewshot", "fewshot_as_multiturn", "metric",
    }  # fmt: skip
    assert task.metric == "exact_match,strict-match"
    samples = load(task, data_root, metric="exact_match,flexible-extract", num_fewshot=2)
    assert [m.role for m in samples[0].messages] == ["user", "assistant"] * 2 + ["user"]
    verdict = task.score(samples[0], f"It is {read_target(samples[0].metadata['doc'])}.")
    assert verdict.outcome == "correct"
    assert verdict.parts == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    (message,) = load(task, data_root, fewshot_as_multiturn=False)[0].messages
    assert message.content.count("Question: ") == 6
    for wrong in ({"metric": "exact_match,strict"}, {"num_fewshot": -1}, {"num_fewshot": "five"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            load(task, data_root, **wrong)


@pytest.mark.slow
def test_every_name_is_found_where_lm_eval_finds_it() -> None:
    """For 100 names of lm-eval's own index, the file that the search finds is the one in the index."""
    from lm_eval.tasks import TaskManager

    index = {
        name: entry.yaml_path
        for name, entry in TaskManager().task_index.items()
        if entry.yaml_path is not None and entry.kind.name != "TAG"
    }
    assert len(index) > 10_000
    names = [*sorted(index)[:: len(index) // 100], "mmlu_pro", "social_iqa", "triviaqa", "wic", "belebele"]
    assert {name: find_task_file(name).path for name in names} == {name: index[name] for name in names}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm9k", "did you mean 'lm-eval/gsm8k'"),
        ("no_such_thing_at_all", "'lm_eval ls tasks' lists"),
        ("hellaswag", "output type multiple_choice"),
        ("wikitext", "output type loglikelihood_rolling"),
        ("mmlu", "is a group of lm-eval, not a task; ask for its members: lm-eval/mmlu_humanities"),
        ("math_word_problems", "is a tag of lm-eval, not a task; ask for its tasks: lm-eval/aime"),
        ("humaneval", "unsafe_code: true"),
        ("squadv2", "is a Python class"),
        ("chartqa", "images or sound"),
        ("basque_bench_flores_ca-eu", "no metric that is a mean over questions, but"),
    ],
)
def test_what_cannot_run_is_told(name: str, message: str) -> None:
    """One message says why, and what to ask for instead."""
    with pytest.raises(ConfigError) as error:
        load_lm_eval_task(name)
    assert message in str(error.value)


def write_task(folder: Path, **settings: object) -> Path:
    """Writes a task of the user's own; settings are YAML, as JSON is. Returns the folder."""
    own = {
        "task": "own_sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "What is {{a}} + {{b}}?",
        "doc_to_target": "{{a + b}}",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {"until": ["\n\n"]},
        "filter_list": [
            {"name": "number", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"},
                                          {"function": "take_first"}]}
        ],
    } | settings  # fmt: skip
    folder.mkdir(exist_ok=True)
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in own.items() if value is not None)
    (folder / "whatever.yaml").write_text(text.replace('"!function ', "!function ").replace('_fn"', "_fn"))
    rows = [{"a": i, "b": i + 1, "note": "é"} for i in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_file_of_ones_own_is_a_task(tmp_path: Path) -> None:
    """include_path adds it, under the name in it, with rows from a file beside it, mirror or not."""
    task = load_lm_eval_task("own_sums", str(write_task(tmp_path)))
    samples = load(task, tmp_path)
    assert [s.sample_id for s in samples] == [f"lm-eval/own_sums/{i}" for i in range(4)]
    assert samples[3].messages[0].content == "What is 3 + 4?"
    assert samples[3].target == "7"
    assert (task.card.source, task.metric) == (
        f"lm-eval {metadata.version('lm_eval')}, whatever.yaml", "exact_match,number",
    )  # fmt: skip
    assert task.score(samples[3], "It is 7.\n\nOr 8.") == Verdict(
        "correct", 1.0, "7", "exact_match,number is 1", {"exact_match,number": 1.0}
    )
    assert task.score(samples[3], "8").outcome == "incorrect"
    assert task.score(samples[3], "seven").outcome == "no_answer"
    with pytest.raises(ConfigError, match="is no folder"):
        load_lm_eval_task("own_sums", str(tmp_path / "nowhere"))


def test_functions_beside_the_file_are_run(tmp_path: Path) -> None:
    """!function prompts and metrics of the user's work; what is no mean, or not within 0-1, is left out."""
    folder = write_task(
        tmp_path,
        doc_to_text="!function maths.ask_fn",
        process_results="!function maths.judge_fn",
        metric_list=[
            {"metric": "points", "aggregation": "mean", "higher_is_better": True},
            {"metric": "right", "aggregation": "mean", "higher_is_better": True},
            {"metric": "worst", "aggregation": "median", "higher_is_better": True},
            {"metric": "error", "aggregation": "mean", "higher_is_better": False},
        ],
    )
    (folder / "maths.py").write_text(
        "import signal\n"
        "def ask_fn(doc):\n    print('noise')\n    return f\"{doc['a']} and {doc['b']}\"\n"
        "def judge_fn(doc, results):\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
        "    print('noise')\n"
        "    right = results[0] == str(doc['a'] + doc['b'])\n"
        "    return {'points': 100 * right, 'right': right, 'worst': 0, 'error': 1 - right}\n"
    )
    task = load_lm_eval_task("own_sums", str(folder))
    samples = load(task, None)
    assert samples[1].messages[0].content == "1 and 2"
    assert samples[1].parts == ("right,number",)
    with ThreadPoolExecutor(1) as pool:  # a thread may not set a signal's handler, as this task does
        assert pool.submit(task.score, samples[1], "3").result().parts == {"right,number": 1.0}
    assert task.card.prompt == "made by maths.ask_fn"


def test_an_answer_prefix_is_dropped_in_chat_only(tmp_path: Path) -> None:
    """It would stand where the thinking must begin; the card says so, and mode base keeps it."""
    task = load_lm_eval_task("own_sums", str(write_task(tmp_path, gen_prefix="The sum is")))
    sample = load(task, None, base=True)[1]
    assert [m.role for m in sample.messages] == ["user"]
    assert sample.completion is not None
    assert sample.completion.prompt == "What is 1 + 2? The sum is"
    assert "drop the answer prefix 'The sum is'" in task.card.departures


def test_votes_are_left_out(tmp_path: Path) -> None:
    """A filter that needs several answers is no part; the others are scored answer by answer."""
    steps = [{"function": "take_first_k", "k": 8}, {"function": "majority_vote"}]
    filters = [{"name": "maj@8", "filter": [*steps, {"function": "take_first"}]}]
    first = {"name": "first", "filter": [{"function": "take_first"}]}
    task = load_lm_eval_task("own_sums", str(write_task(tmp_path, filter_list=[*filters, first], repeats=8)))
    assert load(task, None)[0].parts == ("exact_match,first",)
    assert (task.repeats, task.metric) == (8, "exact_match,first")
    with pytest.raises(ConfigError, match="only filters that need several answers"):
        load_lm_eval_task("own_sums", str(write_task(tmp_path, filter_list=filters)))


def test_a_document_that_json_cannot_carry_is_told(tmp_path: Path) -> None:
    """The run stores the document for scoring later; a column of times is refused by name."""
    folder = write_task(tmp_path, process_docs="!function times.add_fn")
    (folder / "times.py").write_text(
        "import datetime\n"
        "def add_fn(rows):\n    return rows.map(lambda row: {'day': datetime.datetime(2025, 1, 2)})\n"
    )
    with pytest.raises(DataError, match="column 'day' holds a datetime"):
        load(load_lm_eval_task("own_sums", str(folder)), None)


def test_rows_that_are_not_there_are_told(tmp_path: Path) -> None:
    """A mirror without the split, rows without a column, and a file that is missing: each a DataError."""
    task = load_lm_eval_task("aime25")
    with pytest.raises(DataError, match="has no math-ai/aime25/default/test"):
        load(task, tmp_path)
    folder = tmp_path / "math-ai/aime25/default"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"question": "q", "answer": "1"}\n')
    with pytest.raises(DataError, match=r"lm-eval cannot make task .*'problem' is undefined"):
        load(task, tmp_path)
    own = write_task(tmp_path / "own", dataset_kwargs={"data_files": {"test": "/nowhere.jsonl"}})
    with pytest.raises(DataError, match="json default cannot be read"):
        load(load_lm_eval_task("own_sums", str(own)), None)


def test_examples_come_from_the_mirror_too(tmp_path: Path) -> None:
    """With the train split in the mirror it is shown; without it a task of no examples still runs."""
    for split, question in (("train", "seen"), ("test", "asked")):
        folder = tmp_path / "me/sums/default"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"question": f"{question} {i}", "answer": str(i)} for i in range(3)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = write_task(
        tmp_path / "own", dataset_path="me/sums", dataset_kwargs=None, doc_to_text="{{question}}",
        doc_to_target="{{answer}}", training_split="train", fewshot_split="train", num_fewshot=2,
    )  # fmt: skip
    task = load_lm_eval_task("own_sums", str(own))
    shown = load(task, tmp_path)[0].messages
    assert [m.content[:4] for m in shown if m.role == "user"] == ["seen", "seen", "aske"]
    (tmp_path / "me/sums/default/train.jsonl").unlink()
    assert len(load(task, tmp_path, num_fewshot=0)) == 3
    with pytest.raises(DataError, match="no me/sums/default/train"):
        load(task, tmp_path)


def test_a_scorer_that_hangs_or_dies_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer gets the verdict error, and the next one is scored by a new process."""
    folder = write_task(tmp_path, process_results="!function maths.judge_fn")
    (folder / "maths.py").write_text(
        "import os, time\n"
        "def judge_fn(doc, results):\n"
        "    if results[0] == '911': os._exit(7)\n"
        "    if results[0] == '912': time.sleep(600)\n"
        "    if results[0] == '913': return {'exact_match': 2}\n"
        "    return {'exact_match': 1}\n"
    )
    task = load_lm_eval_task("own_sums", str(folder))
    sample = load(task, None)[0]
    assert task.score(sample, "1").outcome == "correct"
    assert "ended with code 7" in task.score(sample, "911").reason
    assert task.score(sample, "1").outcome == "correct"
    assert "exact_match,number=2" in task.score(sample, "913").reason
    monkeypatch.setattr(lm_eval_scoring, "TIMEOUT_S", 1.0)
    assert task.score(sample, "912").outcome == "error"
    monkeypatch.undo()
    assert task.score(sample, "1").outcome == "correct"


def test_loading_prints_nothing_and_changes_no_random_state(
    data_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """lm-eval's warnings and bars stay away, and what is drawn next does not depend on the task."""
    import random

    random.seed(5)
    state = random.getstate()
    load(load_lm_eval_task("aime25"), data_root)
    assert random.getstate() == state
    assert capfd.readouterr() == ("", "")


N_ASKED, MAX_TOKENS = 8, 3000


@pytest.mark.slow
def test_a_sweep_scores_as_simple_evaluate_on_vllm(
    vllm: "RunningVllm", nano: Path, data_root: Path, tmp_path: Path
) -> None:
    """Greedy, thinking, no budget: each document's answer and metrics are those of lm-eval's own run.

    The three tasks, and one of the user's own that the box model is able to do, so that not all scores are 0.
    Thinking that never closes lm-eval scores as if it were the answer; here that is no answer.
    """
    from sweeping import sweep_on

    from qwen3_eval.budget import Ending
    from qwen3_eval.chat import STOP_TEXTS, load_chat
    from qwen3_eval.plan import Plan, Questions
    from qwen3_eval.score import read_records, score_answers
    from qwen3_eval.store import Store
    from qwen3_eval.types import THINKING, Sampling

    out, own = tmp_path / "theirs.json", str(write_chain_task(tmp_path / "own"))
    subprocess.run(
        [sys.executable, __file__, str(nano), str(data_root), own, str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        timeout=900,
    )
    theirs = json.loads(out.read_text())
    names = (*NAMES, "own_chain")
    chat, tasks = load_chat(str(nano)), {f"lm-eval/{name}": load_lm_eval_task(name, own) for name in names}
    plan = Plan(
        questions=[
            Questions(name, load(task, data_root)[:N_ASKED], 1, MAX_TOKENS) for name, task in tasks.items()
        ],
        modes=(THINKING,),
        budgets=(float("inf"),),
        sampling={THINKING: Sampling()},
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]),
        max_answer_tokens=MAX_TOKENS,
        seed=0,
        concurrency=len(names) * N_ASKED,
    )
    sweep_on(vllm, chat, plan, tmp_path / "run")
    answered = (
        "SELECT s.sample_id, g.rollout, g.start FROM generations g JOIN rollouts r ON r.id = g.rollout "
    )
    answered += "JOIN samples s ON s.id = r.sample WHERE g.kind = 'answer'"
    texts: dict[object, str | None] = {}
    with Store.open(tmp_path / "run") as store:
        score_answers(store, {name: task.score for name, task in tasks.items()}, chat.decoder)
        records = read_records(store, plan.budgets)
        for row in list(store.query(answered)):
            answer = store.read_answer(row["rollout"], Ending("natural", row["start"]))
            assert answer is not None
            texts[row["sample_id"]] = chat.decoder.read_answer(answer.ids)
    logged = {f"lm-eval/{name}/{row['doc_id']}": row for name in names for row in theirs[name]}
    scores = read_scores((name, row) for name in names for row in theirs[name])
    assert len(records) == len(logged) == len(names) * N_ASKED
    right = 0.0
    for record in records.to_dict("records"):
        sample_id = str(record["sample_id"])
        told = logged[sample_id]["resps"][0][0]
        if sample_id not in texts:
            assert (record["outcome"], told.partition("\n")[0]) == ("no_answer", "<think>")
            continue
        assert texts[sample_id] == told.strip()
        _, name, number = sample_id.split("/")
        assert json.loads(record["parts"]) == scores[name, int(number)], sample_id
        right += record["score"]
    assert right > 0
    assert len(texts) > len(logged) / 2


def write_chain_task(folder: Path) -> Path:
    """Writes the questions that the box model learned as a task of lm-eval's, with its rows."""
    samples = load(load_task("chain"), None)[:N_ASKED]
    boxed = {"function": "regex", "regex_pattern": "\\\\boxed\\{(\\d+)\\}", "group_select": -1}
    write_task(
        folder, task="own_chain", doc_to_text="{{question}}", doc_to_target="{{answer}}",
        filter_list=[{"name": "boxed", "filter": [boxed, {"function": "take_first"}]}],
    )  # fmt: skip
    rows = [{"question": s.messages[-1].content, "answer": str(s.target)} for s in samples]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def main(nano: str, root: str, own: str, out: str) -> None:
    """lm-eval's side: `simple_evaluate` of the four tasks, once, by its own vLLM model."""
    name_the_cpu_build()
    from lm_eval.models.vllm_causallms import VLLM

    from qwen3_eval.model.vllm_plugin import ARCHITECTURE

    model = VLLM(
        nano,
        enable_thinking=True,
        think_end_token="</think>",
        max_gen_toks=MAX_TOKENS,
        dtype="float32",
        kv_cache_memory_bytes=1024**3,
        enforce_eager=True,
        generation_config="vllm",
        hf_overrides={"architectures": [ARCHITECTURE]},
        seed=0,
    )
    tasks = [build_theirs(name, Path(root), own) for name in (*NAMES, "own_chain")]
    for task in tasks:
        task.set_config("generation_kwargs", {"max_gen_toks": MAX_TOKENS}, update=True)
    Path(out).write_text(json.dumps(evaluate(model, tasks, N_ASKED), default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])

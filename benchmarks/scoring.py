"""Scoring: seconds for 100,000 choice answers in one process, and math answers per second from four threads.

The choice answers are made here: reasoning in twelve languages, of some hundred or of 2,000 characters, that
ends in one of the forms in which models answer, or in none, which takes longest to find out. The math answers
are real, from a local mirror: the solutions of four models to GSM8K, and MATH-500's own solutions, each
beside its own question and beside three others, as most of a wrong answer's time goes into the comparison.
"""

import gzip
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import print_target

from qwen3_eval.data import DataSource
from qwen3_eval.scoring.choice import choice_scorer
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import Sample, Verdict

N_CHOICE = 100_000
CHOICE_TARGET_S = 5.0
MATH_TARGET_PER_S = 300.0
N_THREADS = 4  # as `score_answers` has
DATA = Path(os.environ.get("QWEN3_EVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))

PROSE = (
    "We compare the options one by one. Option A concerns the short run, option B the long run. In 1931 the "
    "bank failed, so prices fell. B cells and T cells differ in where they mature. I think that is a fact. ",
    "我们先看题目的条件。选项A描述的是被动运输，选项B描述的是主动运输。这两个选项都有道理，因此需要进一步分析。",
    "Veamos primero las condiciones. La opción A describe el transporte pasivo, que no gasta energía. La "
    "respuesta ha de apoyarse en los datos, así que hay que compararlas. ",
    "Regardons d’abord l’énoncé. L’option A décrit le transport passif, qui n’a pas besoin d’énergie. La "
    "réponse dépend des hypothèses, et celles-ci ne sont pas données. ",
    "Betrachten wir zuerst die Aufgabe. Möglichkeit A beschreibt den passiven Transport ohne Energie. Die "
    "Antwort hängt von den Annahmen ab, und die sind nicht klar. ",
    "ننظر أولاً في شروط المسألة. الخيار A يصف النقل السلبي بلا طاقة. تعتمد الإجابة على ما نفترضه هنا. ",
    "पहले प्रश्न की शर्तें देखते हैं। विकल्प A में ऊर्जा नहीं लगती। उत्तर हमारी मान्यताओं पर निर्भर करता है। ",
    "まず条件を見てみましょう。選択肢Aは受動輸送で、エネルギーは要りません。答えは仮定によって変わります。",
    "먼저 조건을 살펴보겠습니다. 선택지 A는 에너지가 필요하지 않습니다. 답은 가정에 따라 달라집니다. ",
    "Сначала рассмотрим условия. Вариант A описывает пассивный перенос. Ответ зависит от предположений. ",
    "พิจารณาเงื่อนไขก่อน ตัวเลือก A ไม่ใช้พลังงาน คำตอบขึ้นอยู่กับสมมติฐาน ",
    "Önce koşullara bakalım. A seçeneği enerji gerektirmeyen taşımayı anlatır. Cevap varsayımlara bağlıdır. ",
)
ENDS = {
    "an answer field": '\n\n{{"answer": "{}"}}',
    "a box": "\n\n$\\boxed{{{}}}$",
    "'The answer is C.'": "\n\nThe answer is {}.",
    "nothing stated": "",
}


def choice_answers(end: str, n: int, n_chars: int | None = None) -> list[str]:
    """Returns answers of `n_chars` characters of prose, or of 200 to 600, half of them English."""
    draw = random.Random(0)
    answers = []
    for _ in range(n):
        prose = PROSE[0] if draw.random() < 0.5 else draw.choice(PROSE)
        start, length = draw.randrange(len(prose)), n_chars or draw.randint(200, 600)
        reasoning = (prose * (length // len(prose) + 2))[start : start + length]
        answers.append(reasoning + end.format(draw.choice("ABCD")))
    return answers


def score_seconds(answers: Sequence[str]) -> float:
    """Returns the wall of scoring them one after another."""
    score = choice_scorer()
    sample = Sample("scoring", (), "C")
    began = time.perf_counter()
    for answer in answers:
        score(sample, answer)
    return time.perf_counter() - began


def bench_choice() -> None:
    print("choice answers, one process")
    score_seconds(choice_answers("", 100))
    total_s, n_total = 0.0, 0
    for n_chars, share in ((None, 0.8), (2_000, 0.2)):
        n = round(N_CHOICE * share / len(ENDS))
        for name, end in ENDS.items():
            wall_s = score_seconds(choice_answers(end, n, n_chars))
            length = f"{n_chars:,}" if n_chars else "200-600"
            print_part(f"{name}, {length} characters", n, wall_s)
            total_s += wall_s
            n_total += n
    print(f"  {n_total / total_s:,.0f} answers/s")
    print_target("100,000 choice answers", total_s / n_total * 100_000, CHOICE_TARGET_S, " s")


def bench_math() -> None:
    print(f"math answers, {N_THREADS} threads")
    if not DATA.is_dir():
        print(f"  skipped: no benchmark rows at {DATA}; set QWEN3_EVAL_DATA to a local mirror")
        return
    gsm8k, math500 = load_task("gsm8k"), load_task("math500")
    source = DataSource(DATA)
    asked = gsm8k.load(Asking(source)).made
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    rows = read_rows(DATA / "oracles" / "gsm8k_example_model_solutions.jsonl.gz")
    jobs = [(s, row[m]["solution"]) for s, row in zip(asked, rows, strict=True) for m in models]
    n, wall_s = len(jobs), math_seconds("GSM8K, four models' solutions", gsm8k.score, jobs)

    asked = math500.load(Asking(source)).made
    solutions = [r["solution"] for r in read_rows(DATA / "HuggingFaceH4/MATH-500/default/test.jsonl.gz")]
    for name, shifts in (("their own", (0,)), ("those of others", (1, 2, 3))):
        jobs = [(s, solutions[(i + k) % len(solutions)]) for k in shifts for i, s in enumerate(asked)]
        n, wall_s = n + len(jobs), wall_s + math_seconds(f"MATH-500, {name}", math500.score, jobs)
    rate = n / wall_s
    verdict = "held" if rate >= MATH_TARGET_PER_S else "MISSED"
    print(
        f"{'math answers':<58} {rate:7,.0f}/s   target >= {MATH_TARGET_PER_S:.0f}/s   {verdict}", flush=True
    )


def math_seconds(
    name: str, score: Callable[[Sample, str], Verdict], jobs: Sequence[tuple[Sample, str]]
) -> float:
    """Returns the wall of scoring them in threads; the first that needs math-verify waits for its start."""
    began = time.perf_counter()
    with ThreadPoolExecutor(N_THREADS) as pool:
        verdicts = list(pool.map(lambda job: score(*job), jobs))
    wall_s = time.perf_counter() - began
    symbolic = sum("math-verify" in verdict.reason for verdict in verdicts)
    print_part(f"{name} ({symbolic:,} by math-verify)", len(jobs), wall_s)
    return wall_s


def print_part(name: str, n: int, wall_s: float) -> None:
    print(f"  {name:<56} {wall_s:7.2f} s   {n:>6,} answers   {n / wall_s:>7,.0f}/s", flush=True)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def main() -> None:
    bench_choice()
    bench_math()


if __name__ == "__main__":
    main()

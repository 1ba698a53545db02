"""RULER's question tasks: a question of SQuAD or HotpotQA, and its documents among many others."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen3_eval.tasks.ruler_text import Draft, Draws, Encode, Recipe

from qwen3_eval.errors import ConfigError, DataError

Row = Mapping[str, Any]

# Source: NVIDIA/RULER, scripts/data/synthetic/constants.py, without the answer's beginning; qa.py.
QUESTION = (
    "Answer the question based on the given documents. Only give me the answer and do not output any other "
    "words.\n\nThe following are given documents.\n\n{context}\n\nAnswer the question based on the given "
    "documents. Only give me the answer and do not output any other words.\n\nQuestion: {query}"
)
DOCUMENT = "Document {number}:\n{document}"

_TOLERANCE = 0.006  # of the size, that the last document may leave unfilled


@dataclass(frozen=True)
class Question:
    """Each of `answers` is right. Documents, as numbers in a Corpus: `needed` to answer, or `related`."""

    text: str
    answers: tuple[str, ...]
    needed: tuple[int, ...]
    related: tuple[int, ...]


@dataclass(frozen=True)
class Corpus:
    """Questions in the order of the data, and the different documents, sorted."""

    documents: tuple[str, ...]
    questions: tuple[Question, ...]


def read_squad(rows: Sequence[Row]) -> Corpus:
    """Returns SQuAD 2.0's answerable questions; related are the paragraphs of the same article.

    Takes the articles of the authors' JSON (its `data`), or the rows of the hub's `rajpurkar/squad_v2`.
    """
    asked: list[tuple[str, str, str, list[str]]] = []  # title, paragraph, question, answers
    articles: dict[str, dict[str, None]] = {}
    for row in rows:
        for paragraph in row.get("paragraphs", [row]):
            context = paragraph["context"]
            articles.setdefault(row["title"], {})[context] = None
            for qa in paragraph.get("qas", [row]):
                answers = qa["answers"]
                texts = answers["text"] if isinstance(answers, Mapping) else [a["text"] for a in answers]
                if texts and not qa.get("is_impossible", False):
                    asked.append((row["title"], context, qa["question"], texts))
    documents, number = _number_documents(context for article in articles.values() for context in article)
    questions = [
        Question(
            text,
            tuple(dict.fromkeys(texts)),
            (number[context],),
            tuple(number[other] for other in articles[title] if other != context),
        )
        for title, context, text, texts in asked
    ]
    return Corpus(documents, tuple(questions))


def read_hotpotqa(rows: Sequence[Row]) -> Corpus:
    """Returns HotpotQA's questions; needed are the supporting paragraphs, related the other eight.

    Takes the rows of the authors' JSON, or those of the hub's `hotpotqa/hotpot_qa`, config `distractor`.
    """
    read: list[tuple[Row, dict[str, str]]] = []
    for row in rows:
        context = row["context"]
        if isinstance(context, Mapping):
            context = zip(context["title"], context["sentences"], strict=True)
        read.append((row, {title: f"{title}\n{''.join(sentences)}" for title, sentences in context}))
    documents, number = _number_documents(text for _, paragraphs in read for text in paragraphs.values())
    questions = []
    for row, paragraphs in read:
        facts = row["supporting_facts"]
        titles = set(facts["title"] if isinstance(facts, Mapping) else [fact[0] for fact in facts])
        needed = tuple(number[text] for title, text in paragraphs.items() if title in titles)
        related = tuple(number[text] for title, text in paragraphs.items() if title not in titles)
        questions.append(Question(row["question"], (row["answer"],), needed, related))
    return Corpus(documents, tuple(questions))


def _number_documents(texts: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    documents = tuple(sorted(set(texts)))
    return documents, {text: n for n, text in enumerate(documents)}


READERS = {"qa_1": ("SQuAD 2.0", read_squad), "qa_2": ("HotpotQA", read_hotpotqa)}


def documents_recipe(name: str, rows: Sequence[Row] | None, room: int, encode: Encode) -> Recipe:
    """Returns the recipe of `qa_1` (SQuAD) or `qa_2` (HotpotQA). Its size is tokens.

    The i-th prompt asks the i-th question whose needed documents fill at most half the `room`. Raises
    DataError without rows, and ConfigError where the questions that fit are used up.
    """
    data_set, read = READERS[name]
    if not rows:
        raise DataError(f"RULER's {name} asks the questions of {data_set}, and got none; pass its rows")
    shelf = _Shelf(read(rows), encode)
    questions = shelf.corpus.questions
    unseen = (n for n, q in enumerate(questions) if shelf.tokens(q.needed) <= room // 2)
    fitting: list[int] = []

    def build(i: int, draws: Draws, size: int) -> Draft:
        fitting.extend(itertools.islice(unseen, max(i + 1 - len(fitting), 0)))
        if i >= len(fitting):
            raise ConfigError(
                f"RULER's {name}: question {i} is asked for, and only {len(fitting)} of {len(questions)} fit "
                f"into {room:,} tokens; give a smaller n or a greater length"
            )
        asked = questions[fitting[i]]
        budget = size - len(encode(QUESTION.format(context="", query=asked.text)))
        chosen = draws.shuffled(shelf.choose(asked, draws, budget))
        documents = [shelf.corpus.documents[n] for n in chosen]
        context = "\n\n".join(
            DOCUMENT.format(number=n, document=document) for n, document in enumerate(documents, 1)
        )
        prompt = QUESTION.format(context=context, query=asked.text)
        places = [context.index(shelf.corpus.documents[n]) / len(context) for n in asked.needed]
        return Draft(prompt, asked.answers, tuple(places), (("question", fitting[i]),))

    return Recipe(build, most=2 * room)


class _Shelf:
    """The documents of a corpus, and how many tokens each takes, counted when it is first looked at."""

    def __init__(self, corpus: Corpus, encode: Encode) -> None:
        self.corpus = corpus
        self._encode = encode
        self._counts: dict[int, int] = {}

    def tokens(self, numbers: Iterable[int]) -> int:
        return sum(self._count(n) for n in numbers)

    def _count(self, number: int) -> int:
        if number not in self._counts:
            text = DOCUMENT.format(number=100, document=self.corpus.documents[number])
            self._counts[number] = len(self._encode(f"{text}\n\n"))
        return self._counts[number]

    def choose(self, question: Question, draws: Draws, budget: int) -> list[int]:
        """Returns documents of `budget` tokens at most: the needed ones, then related ones, then any.

        They are drawn until one does not fit; then what is left is filled, at best by a single document.
        """
        known = {*question.needed, *question.related}
        others = (n for n in range(len(self.corpus.documents)) if n not in known)
        rest = [*draws.shuffled(question.related), *draws.shuffled(others)]
        left = budget - self.tokens(question.needed)
        n_drawn = 0
        while n_drawn < len(rest) and self._count(rest[n_drawn]) <= left:
            left -= self._count(rest[n_drawn])
            n_drawn += 1
        drawn, rest = rest[:n_drawn], rest[n_drawn:]
        tolerance = int(_TOLERANCE * budget)
        while left > tolerance:
            best = self._find(rest, left - tolerance, left)
            if best is None:
                best = self._find(rest, 1, left)
            if best is not None:
                left -= self._count(best)
                drawn.append(best)
                rest.remove(best)
            elif rest and drawn:
                left += self._count(drawn.pop())
            else:
                break
        return [*question.needed, *drawn]

    def _find(self, numbers: Sequence[int], least: int, most: int) -> int | None:
        """Returns the first document that takes `least` to `most` tokens, or None."""
        return next((n for n in numbers if least <= self._count(n) <= most), None)

r"""The choice scorer: what it takes for the stated letter, what it refuses to take, and what it survives."""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, extract, format_question
from qwen3_eval.scoring.choice_words import ALPHABET
from qwen3_eval.types import Sample


def test_options_that_are_one_text_are_refused() -> None:
    """A list that a CSV made a text would be asked letter by letter."""
    with pytest.raises(ValueError, match="a list is asked for"):
        format_question("q", "['a', 'b']")


FIELDS = [
    '"answer": "C"', "'answer': 'C'", '`"answer": "C"`', "“answer”: “C”", 'answer: "C"', '"answer": C',
    '**"answer": "C"**', '"answer": **"C"**', '"answer": "**C**"', '"**answer**": "C"', '"answer"  :\t "C"',
    '"answer":"C"', '"answer":\n  "C"', '"ANSWER": "c"', '"Answer" = "C"', '"answer"：“Ｃ”',
    '"answer": 「C」', '"answer": "【C】"', '"answer": "Ⓒ"', '"answer": "𝐂"', '"answer": "🅲"',
    '"answer": "\u200fC\u200f"', "`answer`: C", '"final_answer": "C"', '"answer": "C. Paris"',
    '"answer": "(C)"', '"answer": "(C) Paris"', '"answer": "C) Paris"', '"answer": "C: Paris"',
    '"answer": "C (Paris)"', '"answer": "C - Paris"', '"answer": "C.巴黎"', '"answer": "Option C"',
    '"answer": "选项C"', '"answer": "the letter C"', '"answer": "$C$"', r'"answer": "\text{C}"',
    r'"answer": "\boxed{C}"', '"answer": "C', '```json\n{\n  "answer": "C"\n}\n```', '{"answer": ["C"]}',
    '{"answer": {"C": "Paris"}}', r'{\"answer\": \"C\"}', '{"reason": "the answer is A", "answer": "C"}',
    '{"answer": "C", "reason": "the answer A, or B, is wrong"}', '"answer": C, "reason": "A is wrong"',
    '{"answer": "C", "A": "wrong"}', '"answer": "A" … no, "answer": "C"', '"answer": "The answer is C"',
    '"answer": "C. Both A and B."', '"answer": "C) (A), (B) and (D) are part of it"',
    '"answer": "C. B. F. Skinner"', '"answer": "C. It\'s A, or B"', "'answer': 'C. It's so'",
    '"answer": "C or C"', '"answer": "C"\n\\boxed{A}\nThe answer is B.',
    'e.g., `"answer": "A"`: here\n"answer": "C"', '"answer": "ج"', '"answer": "\u200fج. باريس"',
]  # fmt: skip

BOXES = [
    r"\boxed{C}", r"\boxed{\text{C}}", r"\boxed{(C)}", r"\boxed{C. Paris}", r"\boxed{\textbf{(C)}}",
    r"$\boxed{\mathrm{C}}$", r"\boxed{\text{C. Paris}}", r"\boxed{\text{(C) Paris}}",
    r"\boxed{\text{Option C}}", r"\boxed{C:\ \text{Paris}}", r"\boxed{c}", r"\boxed{A}, no: \boxed{C}",
    r"\boxed{C} and \boxed{A", "\\boxed{C}\nThe answer is B.\nA", r"\boxed{\boxed{\boxed{C}}}",
    r"\boxed{\text{\boxed{(C)}}}", r"\boxed{Ｃ}", r"\boxed{ج}",
]  # fmt: skip

STATEMENTS = [
    "{answer: C}", "The answer is C", "the answer is C.", "Answer: C", "**Answer:** (C)", "**Answer: C**",
    "**Answer**:\n\n**C**. Paris", "ANSWER: c", "answer: c) Paris", "The correct answer is **C) Paris**.",
    "The final answer is: C", "The answer is $C$.", r"The answer is \(C\).", r"$\text{Answer: } C$",
    "The answer is option C.", "The answer is the letter C, I think.", "The correct answer is therefore (c).",
    "The answer to this question is C.", "My answer: “C”", "<answer>C</answer>\n\nEnd.",
    "The answer is C, because it is.", "The answer is C because it is.", "The answer is C since x > 0",
    "The answer is C as shown", "The answer is C (Paris).", "The answer is C – Paris",
    "The answer is C, not A.", "The answer is C. A is wrong.", "The answer is C, A is wrong.",
    "The answer is C; A, B and D are wrong.", "The answer is C, A and B are wrong.",
    "The answer is C\nA. London is wrong.", "The answer is A. No, the answer is C. Yes.",
    "In the `answer` field: **C**, then", "The correct option is C", "choice: C", "The best choice is (C).",
    "I choose C", "I'll go with C.", "I would select option C.", "option C is correct",
    "Option A is incorrect. Option C is correct. Option B is incorrect.", "So C is correct.",
    "C is the correct answer.", "Therefore, **(C)** is the best choice.",
    r"It is \boxed{42}, so the answer is C.", r"\boxed{} The answer is C.",
    "I said the answer: \"maybe\". The answer is C.", "Who knows if. The answer is C.",
    "The answer is C.\n\n$$x$$",
]  # fmt: skip

LANGUAGES = [
    "答案是C", "答案：C。", "正确答案是 C。", "最终答案：**C**", "因此，答案是选项C，因为它对。",
    "所以选择C。", "故选C。", "应选C。", "正确选项是C。", "选项C正确。", "C是正确答案。", "答案是C选项。",
    "答案是C，A和B都不对。", "La respuesta es C.", "La respuesta correcta es la opción C.", "Respuesta: C",
    "C es la respuesta correcta.", "La réponse est C.", "La bonne réponse est l’option C.", "Réponse : C",
    "La réponse C est correcte.", "Die Antwort ist C.", "Die richtige Antwort lautet C, weil",
    "C ist die richtige Antwort.", "A resposta correta é a letra C.", "A alternativa correta é a C.",
    "Resposta: C", "La risposta corretta è la C.", "Risposta: C", "答えはCです。", "正解はCです。",
    "答え：「C」", "Cが正解です。", "정답은 C입니다.", "정답: C", "답: C", "C가 정답입니다.",
    "الإجابة الصحيحة هي C.", "الإجابة: \u200fC\u200f", "الجواب هو (C)", "الإجابة هي الخيار C لأن",
    "الإجابة الصحيحة هي ج.", "الإجابة: (ج) باريس", "الخيار ج صحيح.", "پاسخ: ج", "درست جواب ج ہے۔",
    "सही उत्तर C है।", "उत्तर: C", "विकल्प C सही है।", "সঠিক উত্তর হল C।", "উত্তর: C",
    "Jawaban yang benar adalah C.", "Jawabannya adalah C karena", "Jawapan: C", "Jibu sahihi ni C.",
    "Jibu ni C kwa sababu", "Ìdáhùn: C", "Ответ: C", "Правильный ответ — C.",
    "Правильный ответ - C, потому что", "Doğru cevap C'dir.", "DOĞRU CEVAP: C", "YANIT: C",
    "Doğru yanıt C şıkkıdır.", "Đáp án đúng là C.", "Vậy chọn đáp án C.", "คำตอบที่ถูกต้องคือ C เพราะ",
    "คำตอบ: C", "پاسخ صحیح گزینهٔ C می\u200cباشد.", "پاسخ: C", "درست جواب C ہے۔",
    "Η σωστή απάντηση είναι η C.", "התשובה הנכונה היא C.", "Poprawna odpowiedź to C.",
    "Het juiste antwoord is C.", "Відповідь: C", "Отговор: C", "A helyes válasz: C", "Svar: C",
    "Oikea vastaus on C.", "Õige vastus: C", "Düzgün cavab: C", "Дұрыс жауап: C", "პასუხი: C", "Պատասխան: C",
    "விடை: C", "సమాధానం: C", "ഉത്തരം: C", "Erantzuna: C", "Përgjigja: C", "Sagot: C", "Javob: C",
]  # fmt: skip

ALONE = [
    "C", " c \n", "(C)", "C.", "**C**", "C) Paris", "C. Paris", "C. A river in Egypt", "C. U.S. settlers",
    '"C"', "```\nC\n```", "Ｃ", "Option C", "**Option C: Paris**", "选项C", "It follows:\nC",
    "Reasons.\n\n**C. Paris**", "A. x\nB. y\nC", "ج", "**ج) باريس**",
]  # fmt: skip

NOTHING = [
    "A cat sat", "Apply B-trees", "It is I.", "Vitamin C", "The answer is", "The answer is a",
    "The answer is a number", "The answer is A very difficult one", "the answer is I think unclear",
    "The answer is A-level", "the answer is C++", "the answer is C#.", "The answer is A* search",
    "the answer is A's", "the answer is C = 5", "The answer is A4.", "The answer is Das.",
    "The answer is C(n, 2)", "The answer is A.I. research", "The answer is not C.", "The answer isn’t C.",
    "The answer is neither A nor B.", "The answer is C? No.", "If the answer is A, then",
    "If the correct answer is A, then", "The wrong answer is A.", "The incorrect option is A.",
    '"wrong_answer": "A"', "Answer C is wrong.", "I rejected answer C.", "Hepatitis B is the correct answer.",
    "The answer is hepatitis B", "Statement A is correct.", "Option A is not correct.",
    "Option A is correct only if x.", "Option A is correct, but D is better.", "If option A is correct, then",
    "Neither option A nor option B is correct.", "A is one.", "A and B are alike, who knows",
    "answer choices: A, B, C, D", "Answer: A cat", r"so \boxed{C", "A: I don’t know", "A:", "e.g. this",
    "`c.close();`", "C. S. Lewis wrote it", "Which is the correct answer:\nA. Paris\nB. London\nC. Rome",
    "C. Rome\nD. Oslo", "- **A**: no\n- **B**: yes", 'with the letter, e.g., `"answer": "C"`',
    "**C**\n\nParis is the capital.", "答案不是C", "答案是A型血", "答案是C语言", "选A错误。", "不选A。",
    "不应选A。", "误选A。", "A不正确。", "错误选项是A。", "不正确的选项是A。",
    "A. 自然选择\nB. 灾变说\nC. 均变论", "La respuesta no es C.", "La réponse n’est pas C.",
    "Die Antwort ist nicht C.", "正解はA型です", "正解はCではない。", "Cが正解ではない。",
    "정답은 C가 아닙니다.", "C는 정답이 아닙니다.", "उत्तर C नहीं है।", "विकल्प C सही नहीं है।",
    "Ответ не C.", "Неправильный ответ: A", "Cevap C değil.", "Tôi không chọn A.",
    "الإجابة ليست ج.", "د. محمد كتب هذا", "أ. د. أحمد", "ج.م.ع", "الإجابة هي باريس",
]  # fmt: skip

SEVERAL = [
    '"answer": "A, C"', '"answer": "A,C"', '"answer": "AC"', '"answer": "a, c"', '"answer": "A and C"',
    '"answer": "both A and C"', '"answer": "A/C"', '"answer": "A、C"', '"answer": "A和C"',
    '"answer": "A y C"', '"answer": ["A", "C"]', '"answer": [\n  "A",\n  "C"\n]', '"answer": "A" or "C"',
    '"answer": "A. Paris, C. London"', '"answer": "A) Paris or C) London"', r"\boxed{A, C}", r"\boxed{AC}",
    r"\boxed{\text{A and C}}", "The answer is A or C.", "Answer: A, C", "The answer is (A) and (C).",
    "答案是A、C", "la respuesta es A y C.", "A, C", "A or C",
]  # fmt: skip


@pytest.mark.parametrize("text", FIELDS)
def test_an_answer_field_is_read_however_it_is_written(text: str) -> None:
    """Of quotes, dressing, option texts and other fields, the letter of the last field remains."""
    assert extract(text) == ("C", "the last answer field")


@pytest.mark.parametrize("text", BOXES)
def test_a_box_is_read_where_there_is_no_field(text: str) -> None:
    """The last closed box counts, before any words, and its TeX is seen through."""
    assert extract(text) == ("C", "the last box")


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_in_words_is_read(text: str) -> None:
    """The last one counts, wherever in the text it stands."""
    for whole in (text, f"{text}\n\nI hope that this helps."):
        assert extract(whole)[0] == "C"


@pytest.mark.parametrize("text", LANGUAGES)
def test_statements_are_read_in_the_languages_of_mmmlu_and_include(text: str) -> None:
    """The words for answer, correct and option of each language state a choice as the English ones do."""
    assert extract(f"A … B … C … D?\n\n{text}")[0] == "C"


@pytest.mark.parametrize("text", ALONE)
def test_a_choice_alone_in_the_last_line_is_a_statement(text: str) -> None:
    """With or without its option's text, after other lines or as the whole answer."""
    assert extract(text)[0] == "C"


@pytest.mark.parametrize("text", NOTHING)
def test_a_letter_that_merely_occurs_states_nothing(text: str) -> None:
    """Articles, names, negations, conditions, listed options and examples are no answers."""
    assert extract(text) == (None, "no choice is stated")


def test_a_negation_is_seen_wherever_it_stands() -> None:
    """Text of any length may follow: no part of the answer is read without the words before it."""
    assert {extract(f"Неправильный ответ: A\n{'x' * n}")[0] for n in range(2, 300)} == {None}


@pytest.mark.parametrize("text", SEVERAL)
def test_several_choices_are_incorrect(text: str) -> None:
    """Naming more than one choice does not pay, even where the first or the last is right."""
    for target in "AC":
        verdict = choice_scorer()(Sample("s", (), target), text)
        assert (verdict.outcome, verdict.extracted) == ("incorrect", "A, C")
        assert verdict.reason.endswith("names several choices")


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ('"answer": "K"', "K"),
        ('"answer": "Paris"', "Paris"),
        ('"answer": "A cat"', "A cat"),
        ('"answer": "C++"', "C++"),
        ('"answer": "<letter>"\nThe answer is C.', "<letter>"),
        (r"\boxed{K}", "K"),
        (r"\boxed{42}", "42"),
        ("The answer is K.", "K"),
        ("K", "K"),
    ],
)
def test_what_is_no_choice_offered_is_incorrect(text: str, extracted: str) -> None:
    """Something was stated in the place of the answer, so it is shown, and it is wrong."""
    verdict = choice_scorer()(Sample("s", (), "C"), text)
    assert (verdict.outcome, verdict.score, verdict.extracted) == ("incorrect", 0.0, extracted)
    assert verdict.reason.endswith("is not one of A-D")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("It depends.", "no choice is stated"),
        (r"\boxed{}", "no choice is stated"),
        ('"answer": ""', "the last answer field is empty"),
        ('"answer": null', "the last answer field is empty"),
        ('"answer": "..."', "the last answer field is empty"),
        ('"answer": "', "the last answer field is empty"),
        ('"answer": "C", or rather "answer": " "', "the last answer field is empty"),
    ],
)
def test_no_answer_says_why(text: str, reason: str) -> None:
    """Where nothing is stated the verdict is no_answer, with what was missing."""
    verdict = choice_scorer()(Sample("s", (), "C"), text)
    assert (verdict.outcome, verdict.score, verdict.extracted, verdict.reason) == (
        "no_answer",
        0.0,
        None,
        reason,
    )


@pytest.mark.parametrize(
    ("target", "metadata", "text", "outcome"),
    [
        ("C", {}, "C", "correct"),
        ("C", {}, "D", "incorrect"),
        (["A", "C"], {}, "C", "correct"),
        (["A", "C"], {}, "D", "incorrect"),
        (["A", "C"], {}, "A, C", "incorrect"),
        ("I", {"letters": "ABCDEFGHIJ"}, "The answer is I.", "correct"),
        ("C", {"letters": "ABCDEFGHIJ"}, "the answer is I think unclear", "no_answer"),
        ("C", {"letters": "ABC"}, "D", "incorrect"),
        ("C", {"letters": ["A", "B", "C"]}, "C", "correct"),
        ("K", {}, "K", "error"),
        ("c", {}, "c", "error"),
        ("AB", {}, "A", "error"),
        ("correct_answer", {}, "C", "error"),
        ([], {}, "C", "error"),
        (None, {}, "C", "error"),
        (2, {}, "C", "error"),
    ],
)
def test_targets_and_letters(target: object, metadata: dict[str, object], text: str, outcome: str) -> None:
    """Any letter of a list is right; a sample's own letters count; a target that is none of them is error."""
    assert choice_scorer()(Sample("s", (), target, metadata=metadata), text).outcome == outcome


def test_reasons_name_the_letters_offered() -> None:
    """A run of the alphabet is written as a range, other letters one by one."""
    for letters, span in (("ABCDEFGHIJ", "A-J"), ("AB", "A, B"), ("ACE", "A, C, E")):
        assert extract('"answer": "K"', letters)[1] == f"the last answer field is not one of {span}"


@pytest.mark.parametrize("letters", ["", "abcd", "AAB", "A B", "АБВГ"])
def test_letters_are_distinct_capitals(letters: str) -> None:
    """Anything else is refused, with what is allowed."""
    with pytest.raises(ValueError, match="allowed are distinct capitals"):
        choice_scorer(letters)


def test_a_question_is_formatted_without_a_change_to_its_text() -> None:
    """Lines, marks and the order of every script stay as the data has them."""
    options = ["القاهرة\u200f ", "東京\n(日本)", "क्षत्रिय", "e\u0301 **x**"]
    assert format_question(" ما هي؟\n", options) == (
        " ما هي؟\n\nA. القاهرة\u200f \nB. 東京\n(日本)\nC. क्षत्रिय\nD. e\u0301 **x**\n\n" + CHOICE_INSTRUCTION
    )


@pytest.mark.parametrize("count", [0, 1, 27])
def test_a_question_has_2_to_26_options(count: int) -> None:
    """Other numbers are refused, with what was got."""
    with pytest.raises(ValueError, match=f"got {count} options; allowed are 2 to 26"):
        format_question("Which?", ["x"] * count)


def test_the_question_repeated_states_nothing() -> None:
    """Neither the options nor the instruction's own example is taken for the answer."""
    question = format_question("Which is the capital?", ["London", "Rome", "Paris", "Oslo"])
    assert extract(question) == (None, "no choice is stated")


def test_long_answers_are_read_at_their_end() -> None:
    """Of 100,000 characters and more the last part is read."""
    assert extract('"answer": "C"' + "x" * 100_000)[0] is None
    assert extract("x" * 10_000_000 + '"answer": "C"')[0] == "C"


def test_a_letter_whose_lower_case_is_longer_moves_nothing() -> None:
    """Turkish İ before a statement leaves the place of the letter right."""
    assert extract("İ" * 50 + " DİĞER. Cevap: C")[0] == "C"


@pytest.mark.parametrize(
    "unit",
    [
        '"answer": ', '"answer": "', '"answer": [', 'answer: "maybe" ', "answer: '", 'answer"', "answer",
        "answer ", "answer: ", "answer is ", "answer: \n", "answer:\nA\n", "answer correct ", "option ",
        "the ", "if ", "A", "A ", "A. ", "A, ", "A and ", "(A) ", "A\n", "A is ", "A is correct ",
        "A is the best ", "\\boxed{", "\\boxed{A}", "\\text{", "{", "}", "[", "(", "*", "_", "$", "`", '"',
        "'", "\\", " ", "\n", " - ", ">", "/", "选", "答案", "答案是", "：", "“", "Ａ", "İ", "🅐", "ﷺ",
        "\u0316\u0301", "\ud800",
    ],
)  # fmt: skip
def test_a_hundred_kilobytes_of_garbage_are_read(unit: str) -> None:
    """No pattern backtracks far: whatever is repeated, alone or between labels, the reading ends soon."""
    start = time.process_time()
    garbage = unit * (99_000 // len(unit))
    for text in (garbage, f"answer: {garbage}", f'{garbage}"answer": "'):
        assert extract(text)[1]
    assert time.process_time() - start < 5.0


PIECES = st.sampled_from(
    [
        "A", "C", "k", "a", "Ｃ", "ج", ". ", ", ", " ", "\n", ":", '"', "'", "`", "**", "(", ")", "{", "}",
        "[", "]", "\\boxed{", "\\text{", "answer", '"answer": ', "The answer is ", "Answer: ", "答案是",
        "选项", "option ", " is correct", " and ", " because", "not ",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=200))
def test_scoring_never_raises_and_is_idempotent(text: str) -> None:
    """Every text gets a verdict with a reason; what it extracts, scored alone, is extracted again.

    Of several choices that they are several.
    """
    verdict = choice_scorer()(Sample("s", (), "C"), text)
    assert verdict.reason
    assert (verdict.outcome == "correct") == (verdict.extracted == "C")
    assert (verdict.outcome == "no_answer") == (verdict.extracted is None)
    if verdict.extracted is not None and verdict.extracted in tuple(ALPHABET):
        assert extract(verdict.extracted)[0] == verdict.extracted
    if verdict.extracted is not None and verdict.reason.endswith("several choices"):
        assert extract(verdict.extracted)[1].endswith("several choices")


@given(
    st.text("ABCDacd .,:;()*{}[]\"'`\n\\$", max_size=60),
    st.sampled_from([text for text in FIELDS if text[-1] != "C"]),
    st.text("ABCDacd .,:;()*{}[]\"'`\n\\$", max_size=60),
)
def test_prose_around_a_field_changes_nothing(before: str, field: str, after: str) -> None:
    """Whatever letters and marks stand in the lines before and after, the field is the answer."""
    assert extract(f"{before}\n{field}\n{after}")[0] == "C"


def _questions(data_root: Path) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(data_root.glob("edinburgh-dawg/mmlu-redux-2.0/*/test.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row["question"], row["choices"]


def test_every_option_of_mmlu_redux_is_read_by_its_letter(data_root: Path) -> None:
    """Option texts such as "Both A and C." or "B. F. Skinner" do not mislead, in five ways to answer."""
    misread = []
    for _, options in _questions(data_root):
        for letter, option in zip("ABCD", options, strict=True):
            for text in (
                json.dumps({"answer": f"{letter}. {option}"}, ensure_ascii=False),
                f'"answer": "{letter}) {option}"',
                f"\\boxed{{{letter}. {option}}}",
                f"The answer is {letter}. {option}",
                f"Reasons.\n\n**Answer: {letter}) {option}**\n\nThe others are not.",
            ):
                if extract(text)[0] != letter:
                    misread.append((text, extract(text)))
    assert misread == []


def test_no_question_of_mmlu_redux_states_an_answer(data_root: Path) -> None:
    """A model that only repeats the question with its options, and says something, has answered nothing."""
    stated = []
    for question, options in _questions(data_root):
        repeated = format_question(question, options, "I am not sure.")
        if extract(repeated)[0] is not None:
            stated.append((repeated, extract(repeated)))
    assert stated == []

r"""Scores a multiple choice answer: the letter that it states, against the letter or letters that are right.

What counts as the answer is the first of these that the text holds:
1. The last `"answer": "C"` field, however it is quoted, dressed or spaced.
2. The last closed `\boxed{C}`.
3. The last statement in words ("the answer is C", "答案：C", "option C is correct"), or a last line that is
   only the letter; failing these, a last line that is only an option ("C. Paris"). It may be the only line.

A letter that merely occurs is never taken: after it the clause must end, or go on as it does after a choice
("because …"), so "the answer is A very hard one" states nothing. What names something that is not offered, or
several choices, is `incorrect`: a lucky guess must not pay. A box that holds no choice, as of a computation,
is `incorrect` only where 3 finds nothing.

Most of a long answer states nothing, so the patterns with many words are tried only around letters that stand
alone, which are found in a plain byte copy of the text.
"""

import re
from collections.abc import Callable, Sequence

from qwen3_eval.scoring.choice_words import (
    ALPHABET,
    AND,
    ANSWER_LATIN,
    ANSWER_OTHER,
    BETWEEN,
    BETWEEN_OTHER,
    CHOOSE_LATIN,
    CHOOSE_OTHER,
    GOES_ON,
    IS,
    OPTION_LATIN,
    OPTION_OTHER,
    RIGHT_LATIN,
    RIGHT_OTHER,
    WRONG,
    make_plain,
)
from qwen3_eval.scoring.math import last_boxed
from qwen3_eval.types import Sample, Verdict

CHOICE_INSTRUCTION = (
    'Please show your choice in the `answer` field with only the choice letter, e.g., `"answer": "C"`.'
)
"""What asks for the field. Source: the Qwen3 model cards, Best Practices, Standardize Output Format."""

MAX_ANSWER_CHARS = 100_000
MAX_VALUE_CHARS = 1_000


def choice_scorer(letters: str = "ABCD") -> Callable[[Sample, str], Verdict]:
    """Returns a scorer for samples whose target is a letter, or a list of letters of which any is right.

    A sample with other choices names them itself, in `metadata["letters"]`. Where the target is not among the
    letters the verdict is `error`. Raises ValueError for letters other than distinct capitals A-Z.
    """
    if not letters or len(set(letters)) < len(letters) or not set(letters) <= set(ALPHABET):
        raise ValueError(f"choice_scorer: got letters={letters!r}; allowed are distinct capitals, as 'ABCD'")

    def score(sample: Sample, answer: str) -> Verdict:
        offered = "".join(sample.metadata.get("letters") or letters)
        targets = sample.target if isinstance(sample.target, list | tuple) else [sample.target]
        if not targets or not all(target in tuple(offered) for target in targets):
            return Verdict.error(f"the target {sample.target!r} is not one of {_span(offered)}")
        extracted, reason = extract(answer, offered)
        if extracted is None:
            return Verdict.no_answer(reason)
        return (Verdict.correct if extracted in targets else Verdict.incorrect)(extracted, reason)

    return score


def format_question(question: str, options: Sequence[str], instruction: str = CHOICE_INSTRUCTION) -> str:
    """Returns the question, a line `A. …` for each option, and the instruction; the texts stay as they are.

    Raises ValueError for fewer than 2 or more than 26 options.
    """
    if isinstance(options, str):
        raise ValueError(f"format_question: got the text {options[:60]!r} for options; a list is asked for")
    if not 2 <= len(options) <= len(ALPHABET):
        raise ValueError(f"format_question: got {len(options)} options; allowed are 2 to {len(ALPHABET)}")
    lines = (f"{letter}. {option}" for letter, option in zip(ALPHABET, options, strict=False))
    return "\n".join((question, *lines)) + f"\n\n{instruction}"


def extract(answer: str, letters: str = "ABCD") -> tuple[str | None, str]:
    """Returns the letter that `answer` states, or what it states instead, and how it was found.

    Where it states nothing: None, and why. Only the last 100,000 characters are read.
    """
    text = make_plain(answer[-MAX_ANSWER_CHARS:])
    if (found := _from_field(text, letters)) is not None:
        return found
    boxed = last_boxed(text) if "box" in text else None
    last_line, is_final = _from_last_line(text, letters)
    if boxed and (stated := _read_value(boxed, letters)):
        return _report(stated, "the last box", letters)
    if is_final:
        return _report(last_line, "the last line", letters)
    if stated := _from_words(text, letters):
        return _report(stated, "the last statement", letters)
    if last_line:
        return _report(last_line, "the last line", letters)
    if boxed and any(map(str.isalnum, boxed)):
        return boxed[:MAX_VALUE_CHARS], f"the last box is not one of {_span(letters)}"
    return None, "no choice is stated" if text.strip() else "the answer is empty"


def _from_field(text: str, letters: str) -> tuple[str | None, str] | None:
    for key in reversed(list(_KEY.finditer(text.lower()))):
        if not _is_meant(text, key.start()):
            continue
        found = _VALUE.match(text, key.end())
        value = found[0] if found else ""
        held = last_boxed(value) or value
        stated = _read_value(held, letters)
        if not stated and key["prose"]:  # `answer: "…"`, the key without quotes, may as well be a sentence
            continue
        if stated := stated or _from_words(held, letters):
            return _report(stated, "the last answer field", letters)
        value = value.strip(" \t\r\n*_\"'`\\[{")
        if not any(map(str.isalnum, value)) or value.startswith("null"):
            return None, "the last answer field is empty"
        return value, f"the last answer field is not one of {_span(letters)}"
    return None


def _read_value(value: str, letters: str) -> str:
    """Returns the letter that a field or a box holds, several of them joined by commas, or ""."""
    value = value[:MAX_VALUE_CHARS]
    if (found := _CHOICE.match(value)) is not None:
        others = [
            other["letter"]
            for other in _FURTHER.finditer(value, found.end("letter"))
            if other["letter"] in letters and other["mark"] in found[0]
        ]
        return _join(found["letter"], found["next"] or "", *others)
    bare = re.sub(r"\W", "", value)
    return _join(*bare) if len(bare) > 1 and set(bare) <= set(letters) else ""


def _from_last_line(text: str, letters: str) -> tuple[str, bool]:
    """Returns the choice that the last line consists of, or "", and whether that settles the matter."""
    before, _, line = text.strip("`\n\t ").rpartition("\n")
    if len(line) > MAX_VALUE_CHARS or (found := _LINE.fullmatch(line)) is None:
        return "", False
    stated = _join(found["letter"], found["next"] or "")
    if not found["text"]:  # alone in its line, a letter that is not offered may be a formula
        return stated, len(stated) > 1 or stated in letters
    marks = line[found.end("letter") : found.start("text")]
    is_marked = "." in marks or ")" in marks or (":" in marks and found["named"])  # "A:" is also "Answer:"
    is_initial = ")" not in marks and _INITIAL.match(line, found.start("text"))  # "C. S. Lewis", "b.js"
    is_echo = _OPTION_LINE.match(before.rstrip().rpartition("\n")[2])  # the options, listed again
    return (stated if stated in letters and is_marked and not is_initial and not is_echo else ""), False


def _from_words(text: str, letters: str) -> str:
    flat = text.encode("latin-1", "replace")  # a byte for each character, so places are the same
    alone = [found.start() for found in _ALONE.finditer(b" " + flat.translate(_BARE) + b" ")]
    return max(_last_labelled(text, flat, alone, letters), _last_called_right(text, alone))[1]


def _last_labelled(text: str, flat: bytes, alone: Sequence[int], letters: str) -> tuple[int, str]:
    """Returns where the last "the answer is C" is, and its letters; (-1, "") without one.

    A label and its letter have no stop between them, so it is looked for back to the last stop.
    """
    stops = flat.translate(_STOPS)
    unread = len(text)
    for end in reversed(alone):
        if end >= unread or not _SETTLED.match(text, end):
            continue
        unread = stops.rfind(b".", 0, end) + 1
        unread = max(text.rfind(stop, unread, end) + 1 for stop in "。।") or unread
        clause = text[unread : end + 1].lower()
        for label in reversed(list(_LABEL.finditer(clause))):
            start = unread + label.start()
            found = _CHOICE.match(text, unread + label.end())
            if found is None or not _is_meant(text, start):
                continue
            is_marked = found["open"].strip() or ")" in found["close"] or ":" in label[0]
            if found["letter"].islower() and not is_marked:
                continue  # "the answer is a" was more likely cut off
            below = _NEXT_LINE.match(text, found.end("letter")) if "\n" in label[0] + found["open"] else None
            if below and (found["letter"] + below["letter"]).upper() == letters[:2]:
                continue  # "Choose the right answer:" and the options, listed again
            return start, _join(found["letter"], found["next"] or "")
    return -1, ""


def _last_called_right(text: str, alone: Sequence[int]) -> tuple[int, str]:
    """Returns where the last "C is correct" is, and its letter; (-1, "") without one."""
    for start in reversed(alone):
        if (found := _CALLED_RIGHT.match(text, start)) is None:
            continue
        near = max(0, start - 40)
        before = _BEFORE_CHOICE.search(text[near:start].lower())  # not "vitamin C is the right answer"
        if before and _is_meant(text, near + before.start()):
            return start, found["letter"]
    return -1, ""


def _is_meant(text: str, start: int) -> bool:
    return not _NOT_MEANT.search(text[max(0, start - 40) : start].lower())


def _join(*letters: str) -> str:
    return ", ".join(dict.fromkeys("".join(letters).upper()))


def _report(stated: str, how: str, letters: str) -> tuple[str, str]:
    if len(stated) > 1:
        return stated, f"{how} names several choices"
    return stated, how if stated in letters else f"{how} is not one of {_span(letters)}"


def _span(letters: str) -> str:
    return f"{letters[0]}-{letters[-1]}" if len(letters) > 2 and letters in ALPHABET else ", ".join(letters)


_ALONE = re.compile(b" a(?= )")
_BARE = bytes(
    ord("a") if chr(code).isalpha() else ord("0") if chr(code).isdigit() else ord(" ") for code in range(256)
)
_STOPS = bytes.maketrans(b",;!", b"...")  # not "?", which stands for each character beyond Latin-1

# The forms. Every repeat is possessive or bounded, so that no text takes more than linear time.
_OPEN = r"(?:[\s\"'`*_$(\[{}]|\\[(\[\"]|\\(?!f?box)[a-z]{2,8}\s?(?=\{))*+"
_CLOSE = r"(?:[\"'`*_$)\]}]|\\[)\]\"])*+"
_NAME = (
    r"(?:(?:the|la|el|le|die|der|das|de|het|il|a|o|η|[Bb]oth)\s++|l')?"
    rf"(?P<named>(?i:answer|{OPTION_LATIN}|{OPTION_OTHER})(?!(?<=[A-Za-z])[A-Za-z])[\s:]*+{_OPEN})?"
)
_ENDS = (
    r"(?:[^\S\n]*+(?:\Z|[\n,;!…|}<。।॥۔،؛、]|[.:](?![A-Za-z]\b))|[–—]|[^\S\n]++(?:[-–—−→]++\s|\()|"
    rf"(?:(?<=[)\]])|(?<=\)\*\*))[^\S\n]|\((?![ -~])|[^\S\n]*+(?i:{GOES_ON}))"
)
_LETTER = r"(?P<letter>(?P<capital>[A-Z])|[a-z])"
_NEXT = rf"\s*+(?:{AND})\s*+(?:{AND})?{_OPEN}(?P<next>(?(capital)[A-Z]|[a-z]))(?![A-Za-z0-9]){_CLOSE}"
_SETTLED_LETTER = (
    rf"{_LETTER}(?P<close>{_CLOSE})"
    rf"(?:{_NEXT}(?=\s*+(?:\Z|[.;!…。।]|{AND}))(?![^.。\n]{{0,40}}(?:{WRONG}))|{_ENDS})"
)
_SETTLED = re.compile(rf"(?<![Ā-ɏḀ-ỿ])(?=.(?![Ā-ɏḀ-ỿ])){_SETTLED_LETTER}")
_CHOICE = re.compile(rf"(?P<open>{_OPEN}){_NAME}{_SETTLED_LETTER}")
_LINE = re.compile(
    rf"[-#>•+\s]*+{_OPEN}{_NAME}{_LETTER}{_CLOSE}"
    rf"(?:{_NEXT}(?:\s*+(?:{AND})\s*+{_OPEN}[A-Za-z](?![A-Za-z0-9]){_CLOSE})*+)?(?:[.!。।]|:(?=.*\w))?{_CLOSE}\s*+(?P<text>\S.*)?"
)
_OPTION_LINE = re.compile(rf"[-#>•+\s]*+{_OPEN}[A-Za-z][*_]*+[.:)]")
_NEXT_LINE = re.compile(r"[^\n]*+\n[ \t\-(*]*+(?P<letter>[A-Za-z])[*_]*+[.):]")
_INITIAL = re.compile(r"(?<!\s)[ -~]|[A-Za-z][.)]\s")
_FURTHER = re.compile(r"(?:[,;/&\n]|\b(?:and|or)\b)\s*+(?P<letter>[A-Z])(?P<mark>[.):])\s++\w")
_KEY = re.compile(
    r"answer(?:[*_]{0,3}\\?[\"'`]{1,2}[*_`]{0,3}\s{0,9}[:=]|"
    r"(?P<prose>\s{0,9}[:=])(?=\s{0,9}[*_]{0,3}\\?[\"'`]))"
)
_VALUE = re.compile(
    r"[\s*_]*+(?:\[[^\]]{0,300}|(?P<quote>\\?[\"'`])[^\n]{0,300}?(?P=quote)"
    r"(?:\s{0,9}(?:and|or|[,/&])\s{0,9}(?P=quote)[A-Za-z](?P=quote)(?!\s{0,9}:))*|[^\n}]{0,300}+)"
)
_GAP = r"[\s\"'*_`~()\[\]]*+"
_AMID = rf"\b(?:{BETWEEN}|{RIGHT_LATIN}|{OPTION_LATIN})\b|{BETWEEN_OTHER}|{RIGHT_OTHER}|{OPTION_OTHER}"
_LINK = rf"(?:{_GAP}(?:{_AMID})){{0,6}}+{_GAP}(?:{IS})"
_LABEL = re.compile(
    rf"(?:\b(?:(?:{ANSWER_LATIN}|{OPTION_LATIN}){_LINK}|(?:{CHOOSE_LATIN})\b(?!\s*\n))"
    rf"|(?=[^\x00-\x7f])(?:(?:{ANSWER_OTHER}|{OPTION_OTHER}){_LINK}|(?:{CHOOSE_OTHER})(?!\s*\n)))"
    rf"(?:{_GAP}(?:{_AMID}|{IS})){{0,6}}+"
)
_CALLED_RIGHT = re.compile(
    rf"(?P<letter>[A-Z]){_CLOSE}[^\S\n]*+(?:(?i:\b(?:is|es|est|ist|è|é|está|adalah|ni|là)\b"
    rf"(?:[^\S\n]++(?:therefore|thus|also|clearly|indeed|the|la|el|die|das|il|a|{OPTION_LATIN})\b)*+"
    rf"[^\S\n]++(?:{RIGHT_LATIN}|{ANSWER_LATIN})\b"
    rf"(?:[^\S\n]++(?:{RIGHT_LATIN}|{ANSWER_LATIN}|{OPTION_LATIN}|one|yang)\b)*+)"
    rf"|(?:选项|選項|项)?(?:是|为|為|が|は|가|이)?\s?(?:{RIGHT_OTHER})(?:答案|选项|選項|的)?)"
    rf"(?![\s,]*(?:but|if|only|however)\b){_ENDS}"
)
_BEFORE_CHOICE = re.compile(
    rf"(?:^|[\n.,;:!?。，、…—–-]|\b(?:so|thus|hence|therefore|{ANSWER_LATIN}|{OPTION_LATIN})|{OPTION_OTHER})[\s\"'*_`(\[#>]*$"
)
# Before what states nothing: "if the answer is C", "e.g., `"answer": "C"`", "the wrong answer is C".
_NOT_MEANT = re.compile(
    r"(?:\b(?:if|whether|unless|suppose|assume|assuming|nor|e\.g\.?|for example|such as)(?![a-z])"
    r"[ ,:\"'`*_(\[{]*(?:(?:the|that|correct|right|best|final)[ *_]+){0,3}"
    rf"|(?:{WRONG}|(?:错误|不正确)的)[ _\"'`]*|</)$"
)

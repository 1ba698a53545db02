"""The program in an answer's text: which of its fenced blocks it is, or which of its lines."""

import ast
import re
import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_ANSWER_CHARS = 200_000
MAX_PARSES = 400
"""How many pieces of one text are tried, so that garbage takes no longer than a program."""


def extract_program(answer: str, prompt: str, entry_point: str) -> str | None:
    """Returns the program that `answer` gives, which parses and defines `entry_point`; None without one.

    It is the first of these that there is:
    1. The last complete fenced block that does so; failing these, one that was cut off.
    2. `prompt` with the body that the answer gives, where it, or a fenced block of it, is only a body.
    3. The longest run of statements anywhere in the text.

    Line ends become newlines. Only the last 200,000 characters are read. Never raises; in a fenced block, its
    result is found again.
    """
    text = re.sub(r"\r\n?", "\n", answer[-MAX_ANSWER_CHARS:])
    lines = text.split("\n")
    blocks = list(_find_blocks(lines))
    complete = [block.code for block in reversed(blocks) if block.is_closed]
    cut_off = [block.code for block in blocks if not block.is_closed]
    for code in [*complete, *cut_off, *_widest_block(lines)]:
        if entry_point in code and (defining := _find_form(code, entry_point)) is not None:
            return defining
    bodies = [*complete, *cut_off] if blocks else [text]
    for body in bodies[:MAX_PARSES]:
        if (completed := _complete(prompt, body, entry_point)) is not None:
            return completed
    return _longest_run(text, entry_point)


def _find_form(code: str, entry_point: str) -> str | None:
    """Returns the block, without what indents all of it, where that defines the entry point."""
    return next((f for f in (code, textwrap.dedent(code)) if _defines(f, entry_point)), None)


@dataclass(frozen=True)
class _Block:
    code: str
    is_closed: bool


_FENCE = re.compile(
    r"(?P<indent>[ \t]{0,40}(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]{1,9})?)"
    r"(?P<mark>`{3,}+(?!.*`)|~{3,}+)(?P<info>.*)"
)


def _find_blocks(lines: Sequence[str]) -> Iterator[_Block]:
    """Yields the fenced blocks; the last may not be closed. Source: CommonMark 0.31, section 4.5.

    Unlike there, a fence may be indented as deep as it likes, or follow the mark of any list; its content
    loses as much.
    """
    opened, content = None, list[str]()
    for line in lines:
        found = _FENCE.fullmatch(line)
        if opened is None:
            opened, content = found, []
        elif found is not None and _closes(found, opened):
            yield _Block("\n".join(content), True)
            opened = None
        else:
            content.append(_outdent(line, len(opened["indent"])))
    if opened is not None:
        if content and re.fullmatch(r"[ \t]*(?:`{1,2}|~{1,2})", content[-1]):
            content.pop()  # the closing fence, cut off itself
        yield _Block("\n".join(content), False)


def _closes(found: re.Match[str], opened: re.Match[str]) -> bool:
    return (
        found["mark"].startswith(opened["mark"])
        and not found["info"].strip()
        and not found["indent"].strip()
        and len(found["indent"]) <= len(opened["indent"]) + 3  # deeper, it is in the program's docstring
    )


def _outdent(line: str, most: int) -> str:
    return line[min(most, len(line) - len(line.lstrip(" \t"))) :]


def _widest_block(lines: Sequence[str]) -> Iterator[str]:
    """Yields what lies between the first fence and the last, for a program with fences in its strings."""
    fences = [i for i, line in enumerate(lines) if _FENCE.fullmatch(line)]
    if len(fences) > 2:
        yield "\n".join(lines[fences[0] + 1 : fences[-1]])


def _complete(prompt: str, body: str, entry_point: str) -> str | None:
    """Returns the prompt with the body after it, None where the body is none or that defines nothing."""
    filled = [line for line in body.split("\n") if line.strip()]
    if not filled or not filled[0][0].isspace() or all(line.lstrip().startswith("#") for line in filled):
        return None
    text = prompt + ("" if prompt.endswith("\n") else "\n") + body
    return text if _defines(text, entry_point) else _longest_run(text, entry_point)


def _longest_run(text: str, entry_point: str) -> str | None:
    if entry_point not in text:
        return None
    lines = text.split("\n")
    for joins_strings in (True, False):  # a stray triple quote in prose would join all that follows it
        pieces = _Pieces(lines, joins_strings)
        runs = dict.fromkeys(pieces.around(i) for i in pieces.binding(entry_point))
        found = [run for run in runs if _defines(run, entry_point)]
        if found:
            return max(reversed(found), key=len)
    return None


class _Pieces:
    """A text cut into what may be statements of a program, each from a line that is not indented to the next.

    A piece's kind is `binding`, `other` as of a call or a comment, or "" for prose.
    """

    def __init__(self, lines: Sequence[str], joins_strings: bool) -> None:
        self._texts = ["\n".join(piece) for piece in _cut(lines, joins_strings)]
        self._kinds: dict[int, str] = {}

    def binding(self, name: str) -> list[int]:
        """Returns which pieces may bind `name`, in order."""
        named = [i for i, text in enumerate(self._texts) if name in text][-MAX_PARSES:]
        return [i for i in named if self._kind(i) == "binding"]

    def around(self, i: int) -> str:
        """Returns the longest run of pieces without prose that holds the i-th and binds at both its ends."""
        first = last = i
        while first > 0 and self._kind(first - 1):
            first -= 1
        while last + 1 < len(self._texts) and self._kind(last + 1):
            last += 1
        while self._kind(first) != "binding":
            first += 1
        while self._kind(last) != "binding":
            last -= 1
        lines = "\n".join(self._texts[first : last + 1]).split("\n")
        while not lines[-1].strip() or lines[-1].startswith("#"):
            lines.pop()
        return "\n".join(lines)

    def _kind(self, i: int) -> str:
        if i not in self._kinds:
            tree = _parse(self._texts[i]) if len(self._kinds) < 2 * MAX_PARSES else None
            self._kinds[i] = "" if tree is None else _classify(tree)
        return self._kinds[i]


_GOES_ON = re.compile(r"\s|$|[#)\]}]|(?:else|elif|except|finally)\b")


def _cut(lines: Sequence[str], joins_strings: bool) -> Iterator[list[str]]:
    piece: list[str] = []
    in_string = False
    for line in lines:
        is_fence = not in_string and _FENCE.fullmatch(line) is not None
        is_decorated = bool(piece) and piece[-1].startswith("@")
        if piece and (is_fence or not (in_string or is_decorated or _GOES_ON.match(line))):
            yield piece
            piece = []
        piece.append("\0" if is_fence else line)  # no program holds it: what it is in never parses
        if joins_strings and (line.count('"""') + line.count("'''")) % 2:
            in_string = not in_string
    yield piece


_BINDING = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign,
    ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While, ast.Try, ast.TryStar, ast.With, ast.Match,
)  # fmt: skip
_OTHER = (ast.Assert, ast.Delete, ast.Pass, ast.Expr)


def _classify(tree: ast.Module) -> str:
    """Returns a piece's kind. Prose may parse as well: "Sure", "- an item", "Note: this"."""
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is None:
            return ""
        if isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call | ast.Constant):
            return ""
        if not isinstance(statement, _BINDING + _OTHER):
            return ""
    return "binding" if any(isinstance(statement, _BINDING) for statement in tree.body) else "other"


_OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _defines(code: str, name: str) -> bool:
    """True where `code` parses and binds `name` outside any function or class."""
    if name not in code:
        return False
    tree = _parse(code)
    left: list[ast.AST] = [] if tree is None else [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        else:
            names = []
            if not isinstance(node, _OWN_SCOPE) and not (
                isinstance(node, ast.AnnAssign) and node.value is None
            ):
                left += ast.iter_child_nodes(node)
        if name in names:
            return True
    return False


_parsing = threading.Lock()


def _parse(code: str) -> ast.Module | None:
    # Filters of warnings are the process's, so one thread at a time; a parse holds the interpreter anyway.
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

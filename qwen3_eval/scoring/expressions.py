r"""Plain reading of answers: clean an expression, read it as a number, compare it as text.

These settle most answers exactly and at once; what they cannot read goes to math-verify.

How numbers are written follows no locale but the references': a comma groups digits by three, a point parts
the decimals. So `1,000` is a thousand and `1.000` is one, whoever wrote it, and `1,5` is no number but a list
of two. What can mean only one thing is read so: groups of three after spaces of any width or apostrophes
(`1 000`, `1’000`), and two points or more (`1.000.000`). `1.000,50` may be a list and is not read.
Decimal digits of every script are read (full-width, Arabic-Indic, Persian, Devanagari). Numerals that are no
digits (`四十二`, `XLII`, `④`) and units in other letters than Latin ones (`42 元`) are not.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_DOUBLED_GROUP = re.compile(r"(?<!\\)\{ *(\{[^{}]*(?<!\\)\}) *\}")  # what nested boxes leave
_CHARACTERS = {
    **dict.fromkeys("−–﹣‐‑‒", "-"),
    **dict.fromkeys("٬،、", ","),
    **dict.fromkeys("٫。", "."),
    "٪": "%",
    "’": "'",
    "∞": r"\infty ",
}
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\{([^{}]*)\}")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r",\\!\s*|\{,\}", ","),  # LaTeX's thousands: 10,\!080 and 10{,}080
        (r"(?<!\\)\\[!,;:> ]|\\q?quad(?![a-zA-Z])|~", " "),  # not the break in a matrix, `\\ 2`
        (r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", ""),
        (r"\\(?:mathrm|text|operatorname)\{([ei])\}", r"\1"),  # constants, which math-verify takes for units
        (r"\\[dt]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\?\$", ""),
        (r"^\{([^{}]*)\}$", r"\1"),  # a group of TeX's; the braces of a set are escaped
        (r"\s+", " "),  # no-break, narrow and ideographic spaces too
    )
)

_SIGN = re.compile(r"(?P<sign>[-+]?) ?(?:[€£¥₹] ?)?(?P<body>.*)", re.S)
_DIGITS = r"(?:\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+|(?:'\d{3})+)(?!\d)|\d+)"
_DECIMAL = re.compile(
    r"(?P<points>\d{1,3}(?:\.\d{3}){2,}(?![\d.]))"
    rf"|(?P<value>{_DIGITS}(?:\.\d*)?|\.\d+)(?P<exponent>[eE][-+]?\d{{1,2}})?"
)
_FRACTION = re.compile(
    r"\\frac ?(?:\{ ?(?P<tops>\d+) ?\}|(?P<top>\d)) ?(?:\{ ?(?P<bottoms>\d+) ?\}|(?P<bottom>\d))"
    r"|(?P<over>\d+) ?/ ?(?P<under>\d+)"
)
_PERCENT = re.compile(r" ?(?:\\?%| percent| ?\\(?:text|mathrm|mbox)\{ ?percent ?\})")
_SYMBOL_UNIT = re.compile(
    r" ?(?:[€£¥₹°]|\^ ?\{? ?\\circ ?\}?|\\degree| ?\\(?:text|mathrm|mbox)\{ ?degrees? ?\})"
)
_POWER = r"(?: ?\^ ?\{?[23]\}?|[²³])?"
_BOXED_UNIT = re.compile(
    r" ?\\(?:text|textrm|textbf|mathrm|mbox)"
    rf"\{{ ?(?P<unit>[^{{}}\d\\]*?)\.? ?{_POWER}\}}{_POWER}"
)
_WORD_UNIT = re.compile(rf" (?P<unit>[A-Za-z]{{2,}}[A-Za-z ./'-]*?){_POWER}")
# Other letters that follow a number at once multiply it.
_GLUED_UNIT = re.compile(rf"(?P<unit>[kcm]m|[km]g|m[lL]|km/h|m/s|mph|min)\.?{_POWER}")
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_NOT_UNITS = frozenset({
    "i", "e", "pi", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "or", "and",
    "over", "to", "by", "times", "plus", "minus", "mod", "choose", "squared", "cubed", "factorial",
})  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number as written: exactly its value, and how it was written."""

    value: Fraction
    decimal: bool = False
    percent: bool = False

    def equals(self, other: "Number") -> bool:
        """Compares exactly, but for the rounding of decimals: 0.333333 is 1/3, and 2.9999999999 is 3.

        A decimal may be off by 5e-7, as in math-verify (six places), and by 2e-6 of the value, as small
        values would all be alike otherwise. A percentage equals its share of 1 and its number alike.
        """
        if self._near(self.value, other.value, other):
            return True
        if self.percent == other.percent:
            return False
        mine = self.value / 100 if self.percent else self.value
        return self._near(mine, other.value / 100 if other.percent else other.value, other)

    def _near(self, a: Fraction, b: Fraction, other: "Number") -> bool:
        if not (self.decimal or other.decimal):
            return a == b
        return a == b or abs(a - b) <= min(Fraction(1, 2_000_000), abs(b) / 500_000)


def clean(text: str) -> str:
    r"""Returns the expression without its dressing: `$…$`, `\( \)`, `**`, spacing commands, a final stop.

    Digits of every script and full-width signs become ASCII; marks that cannot be seen go.
    """
    text = "".join(map(_to_ascii, text)).strip()
    doubled = 1
    while doubled:
        text, doubled = _DOUBLED_GROUP.subn(r"\1", text)
    stripped = None
    while stripped != text:
        stripped = text
        text = re.sub(r"(?<=.)\.$", "", text, flags=re.S).strip()
        for left, right in _DELIMITERS:
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : len(text) - len(right)].strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip()


def read_number(text: str) -> Number | None:
    r"""Returns the number that a cleaned expression is, units dropped, None where it is anything else.

    Reads integers (leading zeros, groups of three), decimals, fractions, a currency sign, percent, degrees,
    and a unit: in `\text{}`, words after a space, or km and the like at once. A word of scale
    multiplies: 3 million is 3,000,000.
    """
    whole = _TEXT.fullmatch(text)
    signed = _SIGN.fullmatch(whole[1].strip() if whole else text)
    assert signed is not None
    body = signed["body"]
    matched = _FRACTION.match(body) or _DECIMAL.match(body)
    if matched is None:
        return None
    decimal = matched.re is _DECIMAL and not matched["points"] and not _ungroup(matched["value"]).isdigit()
    value = _read_fraction(matched) if matched.re is _FRACTION else _read_decimal(matched)
    if value is None:
        return None
    rest = body[matched.end() :]
    percent = _PERCENT.fullmatch(rest) is not None
    scale = 1 if not rest or percent or _SYMBOL_UNIT.fullmatch(rest) else _read_unit(rest)
    if scale is None:
        return None
    return Number(-value * scale if signed["sign"] == "-" else value * scale, decimal, percent)


def same_text(a: str, b: str) -> bool:
    r"""True where two cleaned expressions are written alike, spacing and `\text{}` aside."""
    return _squeeze(a) == _squeeze(b)


def read_words(text: str) -> str | None:
    r"""Returns the words of an expression that is wholly `\text{words}`, as `bare_words` does; else None."""
    matched = _TEXT.fullmatch(text)
    return bare_words(matched[1]) if matched else None


def bare_words(text: str) -> str:
    r"""Returns an expression as words to compare: `\text{}`, brackets, case and a final stop taken away."""
    return _TEXT.sub(r"\1", text).strip(" ().").casefold()


def _to_ascii(character: str) -> str:
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Cf":  # marks of direction, zero-width spaces
        return ""
    if "！" <= character <= "～":
        return chr(ord(character) - 0xFEE0)
    return _CHARACTERS.get(character, character)


def _read_fraction(matched: re.Match[str]) -> Fraction | None:
    top = matched["tops"] or matched["top"] or matched["over"]
    bottom = int(matched["bottoms"] or matched["bottom"] or matched["under"])
    return Fraction(int(top), bottom) if bottom else None


def _read_decimal(matched: re.Match[str]) -> Fraction:
    if matched["points"]:
        return Fraction(matched["points"].replace(".", ""))
    return Fraction(_ungroup(matched["value"]).rstrip(".") + (matched["exponent"] or ""))


def _ungroup(digits: str) -> str:
    return re.sub(r"[, ']", "", digits)


def _read_unit(rest: str) -> int | None:
    """Returns what a unit multiplies by, mostly 1; None where `rest` is no unit."""
    matched = _BOXED_UNIT.fullmatch(rest) or _WORD_UNIT.fullmatch(rest) or _GLUED_UNIT.fullmatch(rest)
    if matched is None:
        return None
    words = matched["unit"].split()
    if not words:
        return 1
    first = words[0].casefold()
    return None if first in _NOT_UNITS else _SCALES.get(first, 1)


def _squeeze(text: str) -> str:
    """Takes out the spaces that do not part two words or numbers, and `\\text{}`."""
    return re.sub(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])", "", _TEXT.sub(r"\1", text))

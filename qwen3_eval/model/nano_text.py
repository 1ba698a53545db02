"""Arbitrary text for the box model's lessons: made-up words in many scripts, numbers, formulas, code."""

import random

# First and last code point of the letters of a script, and how often a word of it is drawn.
_SCRIPTS: tuple[tuple[int, int, int], ...] = (
    (0x61, 0x7A, 12),  # Latin
    (0xC0, 0x17F, 2),  # Latin with accents
    (0x3B1, 0x3C9, 1),  # Greek
    (0x430, 0x44F, 2),  # Cyrillic
    (0x5D0, 0x5EA, 1),  # Hebrew
    (0x621, 0x64A, 2),  # Arabic
    (0x905, 0x939, 1),  # Devanagari
    (0x985, 0x9B9, 1),  # Bengali
    (0xE01, 0xE2E, 1),  # Thai
    (0x10D0, 0x10F0, 1),  # Georgian
    (0x3041, 0x3096, 1),  # Hiragana
    (0x30A1, 0x30FA, 1),  # Katakana
    (0x4E00, 0x9FFF, 3),  # Chinese characters
    (0xAC00, 0xD7A3, 1),  # Hangul
    (0x1F300, 0x1F64F, 1),  # symbols and faces
)
_WORDS = (
    "the of and to in a is that it for was on are as with his they at be this from have or by one had not "
    "but what all were when we there can an your which their said if do will each about how up out them "
    "then she many some so these would other into has more her two like him see time could no make than "
    "first been its who now people my made over did down only way find use may water long little very "
    "after words called just where most know code step start number digit lock key three answer problem "
    "integer let prove sum triangle probability positive real value equation function dollars each day "
    "total how much does think thinking show Find Let What How If The A Suppose Write Translate Explain "
    "Which Why Who Please Give Compute Determine"
).split()
_BITS = (
    "\\frac{1}{2}", "\\sqrt{x}", "$x^2 + y^2 = z^2$", "\\(n\\)", "\\[a_n = a_{n-1} + k\\]", "\\le", "\\pi",
    "def f(x):\n    return x", "for i in range(10):", "print('hi')", "{\"a\": 1}", "x = 5;", "if (a < b) {",
    "}", "http://a.org/b", "a/b", "A)", "B)", "(C)", "D.", "1.", "- ", "* ", "| a | b |", "**bold**", "#",
    "\n\n", "\n", "?", "!", "...", "—", "“", "”", "€5", "$3.50", "100%", "k = 3", "n=240", "abc", "+", "=",
    "<b>", "\\boxed{5}",
)  # fmt: skip


def draw_text(rng: random.Random, size: int) -> str:
    """Draws about `size` bytes of arbitrary text: one script or several, words, numbers, formulas, code."""
    scripts = rng.choices(_SCRIPTS, weights=[s[2] for s in _SCRIPTS], k=rng.choice((1, 1, 2, 4)))
    english, bits, numbers = (
        rng.choice((0.0, 0.5, 0.95)),
        rng.choice((0.0, 0.05, 0.3)),
        rng.choice((0.0, 0.1)),
    )
    spaced = rng.random() < 0.85
    pieces: list[str] = []
    length = 0
    while length < size:
        kind = rng.random()
        if kind < bits:
            piece = rng.choice(_BITS)
        elif kind < bits + numbers:
            piece = str(rng.randrange(10 ** rng.randint(1, 5)))
        elif rng.random() < english:
            piece = rng.choice(_WORDS)
        else:
            first, last, _ = rng.choice(scripts)
            piece = "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 9)))
            piece = piece.capitalize() if rng.random() < 0.15 else piece
        if rng.random() < 0.1:
            piece += rng.choice((",", ".", ":", "?", "。", ";", ".\n"))
        piece += " " if spaced else ""
        pieces.append(piece)
        length += len(piece.encode())
    text = "".join(pieces).strip()
    return text or "?"

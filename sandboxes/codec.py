"""Values as bytes, and bytes as plain builtins: the only way through the wall, the same code on both sides.

A value is JSON where JSON has it (None, bool, int, float, str, list) and an object with one key, its tag,
where it does not. Reading rebuilds exact builtins and a few standard value types, never anything a program
defined: a subclass comes down to its base when it is written, and there is no tag for a class. Pickle and
marshal can build anything, and are not used. What is read may be hostile: size, depth, number of parts and
whatever would cost more than linear time to rebuild are bounded, and what breaks a bound is a CodecError.
"""

import json
import sys
from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice

MAX_DEPTH = 100
MAX_PARTS = 1_000_000  # containers and tagged values in one frame; each costs the reader some 100 bytes
MAX_ITEMS = 100_000  # taken from an iterator before it counts as endless
MAX_RANGE = 10_000_000  # items of a range: who receives it may walk it
MAX_RATIONAL_BITS = 100_000  # a Fraction is reduced when built, in more than linear time
MAX_COLLISIONS = 1_000  # keys with one hash: building a table of them takes quadratic time
_LARGE = 1 << 256  # ints beyond are written in hexadecimal, which is linear in both directions

_PLAIN = frozenset((int, float, str, bool, type(None)))
_PLAIN_BUT_INT = frozenset((float, str, bool, type(None)))
_VIEWS = {type({}.keys()): "K", type({}.items()): "I", type({}.values()): "V"}


class CodecError(ValueError):
    """A value that cannot be written, or bytes that no writer of ours wrote."""


def _bounded_int(text):
    if len(text) > 5_000:
        raise CodecError("malformed: a long int in the short form")
    return int(text)


# Made once: the functions of the json module would make one of each for every call.
_WRITER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
_READER = json.JSONDecoder()
_WARY_READER = json.JSONDecoder(parse_int=_bounded_int)


def encode(value):
    """Returns a value as bytes. Raises CodecError where it has no form here, is too deep or too large.

    Iterators and generators are walked, at most MAX_ITEMS items; whatever they raise comes through.
    """
    try:
        text = _WRITER.encode(_flatten(value, 0, [0]))
    except RecursionError:
        raise CodecError("nested too deep") from None
    return text.encode("utf-8", "surrogatepass")


def decode(payload):
    """Returns the value in bytes from the other side. Raises CodecError, and nothing else."""
    if payload.count(b"[") + payload.count(b"{") > MAX_PARTS:
        raise CodecError(f"more than {MAX_PARTS} parts")
    try:
        digits = getattr(sys, "get_int_max_str_digits", lambda: 0)()
        reader = _READER if 0 < digits <= 10_000 else _WARY_READER  # the host may have lifted Python's bound
        return _rebuild(reader.decode(payload.decode("utf-8", "surrogatepass")), 0)
    except CodecError:
        raise
    except RecursionError:
        raise CodecError("nested too deep") from None
    except (ValueError, TypeError, ArithmeticError, KeyError) as error:
        raise CodecError(f"malformed: {type(error).__name__}") from None


def _flatten(value, depth, parts):
    kind = type(value)
    if kind in _PLAIN_BUT_INT:
        return value
    if kind is int:
        return value if -_LARGE < value < _LARGE else {"i": hex(value)}
    parts[0] += 1
    if depth > MAX_DEPTH or parts[0] > MAX_PARTS:
        raise CodecError("nested too deep" if depth > MAX_DEPTH else f"more than {MAX_PARTS} parts")
    if kind is list:
        return _flatten_items(value, depth, parts)
    if kind is tuple:
        return {"t": _flatten_items(value, depth, parts)}
    if kind is dict:
        return {"d": _flatten_items(_interleave(value.items()), depth, parts)}
    for base, tag, reduce in _FORMS:
        if issubclass(kind, base):
            reduced = reduce(value)
            return _flatten(reduced, depth + 1, parts) if tag is None else {tag: reduced}
    for base, tag, items in _CONTAINERS:
        if issubclass(kind, base):
            flat = _flatten_items(items(value), depth, parts)
            return flat if tag is None else {tag: flat}
    if kind in _VIEWS:
        tag = _VIEWS[kind]
        return {tag: _flatten_items(_interleave(value) if tag == "I" else list(value), depth, parts)}
    if hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        items = list(islice(value, MAX_ITEMS + 1))
        if len(items) > MAX_ITEMS:
            raise CodecError(f"{_name(kind)} with more than {MAX_ITEMS} items")
        return {"g": _flatten_items(items, depth, parts)}
    raise CodecError(f"{_name(kind)} has no form outside the program")


def _flatten_items(items, depth, parts):
    """Returns the items flattened; a list of scalars only is passed on as it is, which is most of them."""
    kinds = set(map(type, items))
    if kinds <= _PLAIN_BUT_INT:
        return items
    if kinds <= _PLAIN and all(-_LARGE < item < _LARGE for item in items if type(item) is int):
        return items
    return [_flatten(item, depth + 1, parts) for item in items]


def _interleave(pairs):
    return [part for pair in pairs for part in pair]


def _name(kind):
    name = kind.__name__
    return f"{name[:80]!r} object" if isinstance(name, str) else "object"


def _checked_range(value):
    # Not len(): it cannot say more than 2**63 - 1.
    if abs(value.stop - value.start) > MAX_RANGE * abs(value.step):
        raise CodecError(f"range of more than {MAX_RANGE} items")
    return [_flatten(part, 0, [0]) for part in (value.start, value.stop, value.step)]


def _bounded_decimal(value):
    # int() of a Decimal with a giant exponent would fill the memory of whoever calls it.
    if value.is_finite() and (abs(value.adjusted()) > 10_000 or len(str(value)) > 10_100):
        raise CodecError("Decimal of more digits than are taken")
    return Decimal.__str__(value)


def _small_fraction(value):
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_RATIONAL_BITS:
        raise CodecError("Fraction of more digits than are taken")
    return [hex(value.numerator), hex(value.denominator)]


# (type, tag, what is written under it); a None tag writes the reduced value itself. Methods of the base are
# called by name, so that a subclass has no say in what is written.
_FORMS = (
    (bool, None, bool),
    (int, None, int.__index__),
    (float, None, float.__float__),
    (str, None, str.__str__),
    (type(Ellipsis), "e", lambda value: 0),
    (bytes, "b", bytes.hex),
    (bytearray, "y", bytearray.hex),
    (complex, "c", lambda value: [complex.real.__get__(value), complex.imag.__get__(value)]),
    (range, "r", _checked_range),
    (Fraction, "q", _small_fraction),
    (Decimal, "m", _bounded_decimal),
    (datetime, "T", datetime.isoformat),
    (date, "D", date.isoformat),
    (time, "H", time.isoformat),
    (timedelta, "E", lambda value: [value.days, value.seconds, value.microseconds]),
)
_CONTAINERS = (
    (list, None, lambda value: list(list.__iter__(value))),
    (tuple, "t", lambda value: list(tuple.__iter__(value))),
    (OrderedDict, "d", lambda value: _interleave(OrderedDict.items(value))),
    (dict, "d", lambda value: _interleave(dict.items(value))),
    (set, "s", lambda value: list(set.__iter__(value))),
    (frozenset, "f", lambda value: list(frozenset.__iter__(value))),
    (deque, "Q", lambda value: list(deque.__iter__(value))),
    (slice, "l", lambda value: [value.start, value.stop, value.step]),
)


def _rebuild(node, depth):
    kind = type(node)
    if kind is list:
        return _rebuild_items(node, depth)
    if kind is not dict:
        return node
    if len(node) != 1:
        raise CodecError("malformed: a tag stands alone")
    [(tag, body)] = node.items()
    builder = _ITEM_BUILDERS.get(tag)
    if builder is not None:
        if type(body) is not list:
            raise CodecError("malformed: a container's tag without a list")
        return builder(_rebuild_items(body, depth))
    return _SCALAR_BUILDERS[tag](body)


def _rebuild_items(items, depth):
    if depth > MAX_DEPTH:
        raise CodecError("nested too deep")
    if set(map(type, items)) <= _PLAIN:
        return items
    return [_rebuild(item, depth + 1) for item in items]


def _hashable(keys):
    """Returns the keys. Raises CodecError where a table of them would take quadratic time to build."""
    if len(keys) > MAX_COLLISIONS and len(keys) - len(set(map(hash, keys))) > MAX_COLLISIONS:
        raise CodecError("keys made to collide")
    return keys


def _build_dict(items):
    keys, values = items[::2], items[1::2]
    if len(keys) != len(values):
        raise CodecError("malformed: a key without a value")
    return dict(zip(_hashable(keys), values, strict=True))


def _build_int(text):
    if len(text) < 64:  # a decimal int would have done: nothing of ours writes this
        raise CodecError("malformed: a short int in the long form")
    return int(text, 16)


def _build_range(parts):
    start, stop, step = (_rebuild(part, 0) for part in parts)
    if abs(stop - start) > MAX_RANGE * abs(step):
        raise CodecError(f"range of more than {MAX_RANGE} items")
    return range(start, stop, step)


def _build_fraction(parts):
    numerator, denominator = parts
    if max(len(numerator), len(denominator)) * 4 > MAX_RATIONAL_BITS + 64:
        raise CodecError("Fraction of more digits than are taken")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _build_decimal(text):
    if len(text) > 20_000:
        raise CodecError("Decimal of more digits than are taken")
    value = Decimal(text)
    _bounded_decimal(value)
    return value


_ITEM_BUILDERS = {
    "t": tuple,
    "d": _build_dict,
    "s": lambda items: set(_hashable(items)),
    "f": lambda items: frozenset(_hashable(items)),
    "Q": deque,
    "l": lambda items: slice(*_exactly(items, 3)),
    "K": lambda items: dict.fromkeys(_hashable(items)).keys(),
    "I": lambda items: _build_dict(items).items(),
    "V": lambda items: dict(enumerate(items)).values(),
    "g": iter,  # what came from an iterator is one again: equal to nothing, and read once
}
_SCALAR_BUILDERS = {
    "i": _build_int,
    "e": lambda body: Ellipsis,
    "b": bytes.fromhex,
    "y": bytearray.fromhex,
    "c": lambda body: complex(*(float(part) for part in _exactly(body, 2))),
    "r": _build_range,
    "q": _build_fraction,
    "m": _build_decimal,
    "T": datetime.fromisoformat,
    "D": date.fromisoformat,
    "H": time.fromisoformat,
    "E": lambda body: timedelta(*(int(part) for part in _exactly(body, 3))),
}


def _exactly(parts, n):
    if len(parts) != n:
        raise CodecError("malformed: a tag with too few or too many parts")
    return parts

"""The codec between the host and a program: what goes in comes out, and bytes from a liar do no harm."""

import json
import math
import struct
import sys
import time
from collections import deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qwen3_eval.sandboxes import codec, frames

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**2000), 2**2000),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(codec=None, exclude_categories=())),
    st.binary(),
    st.just(...),
    st.fractions(),
    st.decimals(allow_nan=False, allow_infinity=True),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda value: value.replace(fold=0)),  # fold is lost
    st.times().map(lambda value: value.replace(fold=0)),
    st.timedeltas(),
    st.builds(range, st.integers(-100, 100), st.integers(-100, 100), st.integers(1, 9) | st.integers(-9, -1)),
    st.builds(bytearray, st.binary()),
)
HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=5),
        st.sets(HASHABLE, max_size=5),
        st.frozensets(HASHABLE, max_size=5),
        st.builds(slice, inner, inner, inner),
    ),
    max_leaves=25,
)


def describe(value: Any) -> Any:
    """Returns a value with every part's type, in a form that compares nan as equal and -0.0 as not."""
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return kind, [describe(part) for part in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(describe(part)) for part in value)
    if isinstance(value, dict):
        return kind, [(describe(key), describe(part)) for key, part in value.items()]
    if isinstance(value, slice):
        return kind, [describe(part) for part in (value.start, value.stop, value.step)]
    return kind, hex(value) if isinstance(value, int) else repr(value)


@given(VALUES)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    """Type and content of every part, nan, -0.0, lone surrogates and the order of a dict included."""
    assert describe(codec.decode(codec.encode(value))) == describe(value)


def build_json(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tags = st.sampled_from([*"ietbycrqmTDHEdsflKIVgQ", "!", "", "tt"])
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(tags, inner, max_size=2),
        max_leaves=20,
    )


JSON = build_json(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["-0x" + "f" * 70, "1e999999999", "sNaN", "2020-01-01", "00", "0x1", "zz", "1_0", "٣"])
)
BUILTINS = {
    type(None), bool, int, float, complex, str, bytes, bytearray, type(...), list, tuple, dict, set,
    frozenset, range, slice, deque, Fraction, Decimal, datetime, date, timedelta, type(datetime.min.time()),
    type({}.keys()), type({}.items()), type({}.values()), type(iter([])),
}  # fmt: skip


def decode_or_refuse(payload: bytes) -> Any:
    """Returns the value, or None where it is refused in the one way that is allowed."""
    began = time.monotonic()
    try:
        value = codec.decode(payload)
        assert type(value) in BUILTINS
        return value
    except codec.CodecError:
        return None
    finally:
        assert time.monotonic() - began < 5


@given(JSON)
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_json_with_any_tags_is_read_or_refused(tree: Any) -> None:
    """Whatever stands under whatever tag: a builtin, or a CodecError, and soon."""
    decode_or_refuse(json.dumps(tree).encode())


@given(st.binary(max_size=300) | JSON.map(lambda tree: json.dumps(tree).encode()), st.data())
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bytes_of_any_kind_are_read_or_refused(payload: bytes, data: st.DataObject) -> None:
    """Noise, and what was right but for a byte or its end."""
    decode_or_refuse(payload)
    if payload:
        at = data.draw(st.integers(0, len(payload) - 1))
        decode_or_refuse(payload[:at])
        decode_or_refuse(payload[:at] + data.draw(st.binary(max_size=3)) + payload[at + 1 :])


@given(st.lists(st.binary(max_size=200), max_size=8), st.lists(st.integers(1, 50), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_frames_are_the_same_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """Bytes arrive in pieces of any size; the payloads come out whole and in order."""
    stream = b"".join(map(frames.frame, payloads))
    cutter, found, at = frames.Frames(1000), [], 0
    for turn in range(len(stream) + 1):
        if at >= len(stream):
            break
        piece = stream[at : at + cuts[turn % len(cuts)]]
        found += cutter.feed(piece)
        at += len(piece)
    assert found == payloads


@given(st.lists(st.binary(max_size=60), max_size=20))
@settings(max_examples=500, deadline=None)
def test_a_stream_of_noise_is_cut_or_refused(pieces: list[bytes]) -> None:
    """The decoder of frames takes anything, and never keeps more than a frame may hold."""
    cutter = frames.Frames(100)
    try:
        for piece in pieces:
            for payload in cutter.feed(piece):
                assert len(payload) <= 100
                decode_or_refuse(payload)
            assert cutter.missing() >= 1
            assert len(cutter._buffer) <= 104
    except frames.FrameError:
        return


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"t":[' * 5000 + b"]}" * 5000,
        b"[" * 102 + b"1" + b"]" * 102,
        b"[" + b"[]," * 2_000_000 + b"1]",
        b'{"s":[' + b",".join(b"%d" % (i * (2**61 - 1)) for i in range(200_000)) + b"]}",
        b'{"d":[' + b",".join(b"%d,0" % (i * (2**61 - 1)) for i in range(200_000)) + b"]}",
        b'{"r":[0,1000000000000,1]}',
        b'{"r":[0,1,0]}',
        b'{"m":"1e999999999"}',
        b'{"m":"' + b"9" * 1_000_000 + b'"}',
        b'{"q":["0x' + b"f" * 1_000_000 + b'","0x' + b"e" * 1_000_000 + b'"]}',
        b'{"q":["0x1","0x0"]}',
        b"1" * 1_000_000,
        b'{"s":[[]]}',
        b'{"t":1}',
        b'{"t":[],"s":[]}',
        b"{}",
        b'{"__reduce__":["os.system"]}',
        b"\xff\xfe",
        b"",
    ],
    ids=lambda payload: repr(payload[:24]),
)
def test_what_would_cost_too_much_is_refused_soon(payload: bytes) -> None:
    """Depth, width, colliding keys, and numbers that take more than linear time or memory to build."""
    began = time.monotonic()
    with pytest.raises(codec.CodecError):
        codec.decode(payload)
    assert time.monotonic() - began < 5


def test_a_bound_that_the_host_has_lifted_is_kept_here() -> None:
    """Python refuses ints of thousands of digits unless told otherwise; a long one would take minutes."""
    before = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(0)
        with pytest.raises(codec.CodecError):
            codec.decode(b"1" * 10_000_000)
        assert codec.decode(codec.encode([10**4000])) == [10**4000]
    finally:
        sys.set_int_max_str_digits(before)


def test_the_largest_depth_is_the_same_in_both_directions() -> None:
    """A value as deep as is allowed comes back; one deeper is refused by the writer already."""
    value: list[Any] = []
    for _ in range(codec.MAX_DEPTH):
        value = [value]
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(codec.CodecError, match="too deep"):
        codec.encode([value])


def test_a_value_without_form_is_named() -> None:
    """The message names the type; what has another's class or is a class itself has no form either."""
    for value in (object(), len, int, lambda: 1, json):
        with pytest.raises(codec.CodecError, match=type(value).__name__):
            codec.encode(value)


def test_a_giant_frame_is_refused_by_its_length() -> None:
    """Before it has arrived, so that nobody waits for it or makes room."""
    with pytest.raises(frames.FrameError, match="at most 100 are taken"):
        frames.Frames(100).feed(struct.pack(">I", 101))


def test_infinite_and_missing_numbers_survive() -> None:
    """As floats and as Decimals, which compare in ways of their own."""
    found = codec.decode(
        codec.encode([math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity"), -0.0])
    )
    assert repr(found) == "[nan, inf, -inf, Decimal('NaN'), Decimal('-Infinity'), -0.0]"

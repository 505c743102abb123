"""One value has one sequence of bytes."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.canonical import canonical_bytes, digest

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_it_reads_back_as_it_was(value: object) -> None:
    assert json.loads(canonical_bytes(value)) == value


@given(values)
def test_reading_and_writing_again_gives_the_same_bytes(value: object) -> None:
    assert canonical_bytes(json.loads(canonical_bytes(value))) == canonical_bytes(value)


@given(st.dictionaries(texts, st.integers(), min_size=2), st.randoms())
def test_the_order_of_keys_does_not_count(value: dict[str, int], chance: random.Random) -> None:
    items = list(value.items())
    chance.shuffle(items)
    assert canonical_bytes(dict(items)) == canonical_bytes(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "x"]}, '{"a":[true,null,"x"],"b":1}'),
        ((1, 2), "[1,2]"),
        ({"é": "\u2028", "e": '"\\/\n\x1f'}, '{"e":"\\"\\\\/\\n\\u001f","é":"\u2028"}'),
        (
            {"\r": 1, "1": 2, "\x80": 3, "\xf6": 4, "\u20ac": 5},
            '{"\\r":1,"1":2,"\x80":3,"ö":4,"€":5}',
        ),
        ([900.0, 0.1, 1e300, -0.5], "[900.0,0.1,1e+300,-0.5]"),
        (2**53, "9007199254740992"),
    ],
)
def test_its_form(value: object, text: str) -> None:
    assert canonical_bytes(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")], "\udcff"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_bytes(value)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_bytes(value)


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

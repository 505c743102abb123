import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.drill.engines.answers import text, token_ids, unit_vector


def test_a_text_can_always_be_written_as_utf8() -> None:
    assert text("half \ud83d of a smile") == "half ? of a smile"


@pytest.mark.parametrize("value", [None, 3, ["a"], b"bytes"])
def test_anything_else_is_no_text(value: object) -> None:
    with pytest.raises(TypeError):
        text(value)


def test_token_ids_keep_their_order() -> None:
    assert token_ids([3, 1, 2]) == (3, 1, 2)


@pytest.mark.parametrize("value", [None, "123", [1.0], [True], ["1"], {"a": 1}])
def test_anything_else_is_no_token_ids(value: object) -> None:
    with pytest.raises(TypeError):
        token_ids(value)


@pytest.mark.parametrize("value", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf]])
def test_a_vector_without_length_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="length"):
        unit_vector(value)


@pytest.mark.parametrize("value", [None, "none", ["1"], [[1.0]], [True]])
def test_anything_else_is_no_vector(value: object) -> None:
    with pytest.raises(TypeError):
        unit_vector(value)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1).filter(lambda v: math.hypot(*v) > 1e-6))
def test_vectors_are_scaled_to_length_one(values: list[float]) -> None:
    assert math.isclose(math.hypot(*unit_vector(values)), 1, rel_tol=1e-9)

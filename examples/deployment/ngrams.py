"""Learn from the documents which token follows which: counts, and the contexts worth remembering.

A context is the last one to four tokens. A longer one is worth remembering only where its most
likely next token differs from what the context without its oldest token predicts already.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LONGEST_CONTEXT = 4

Context = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """After `context` (oldest token first) the token `following` is the most likely."""

    context: Context
    following: int


def successors(documents: Sequence[Sequence[int]], *, begin: int) -> dict[int, Counter[int]]:
    """Count what follows each token. A document is a list of token ids that ends with its end."""
    counted = _count(documents, length=1, begin=begin)
    return {context[0]: following for context, following in counted.items()}


def memories(
    documents: Sequence[Sequence[int]], *, begin: int, likeliest: Mapping[int, int]
) -> tuple[Memory, ...]:
    """Return the contexts of two tokens and more that change the prediction, shortest first.

    `likeliest` is what the model predicts after a single token, where it is sure.
    """
    found: list[Memory] = []
    shorter: dict[Context, int] = {(token,): following for token, following in likeliest.items()}
    for length in range(2, LONGEST_CONTEXT + 1):
        longer = _predictions(documents, length=length, begin=begin)
        found += [
            Memory(context, following)
            for context, following in sorted(longer.items())
            if shorter.get(context[1:]) != following
        ]
        shorter = longer
    return tuple(found)


def _predictions(
    documents: Sequence[Sequence[int]], *, length: int, begin: int
) -> dict[Context, int]:
    counted = _count(documents, length=length, begin=begin)
    return {context: _most_frequent(following) for context, following in counted.items()}


def _most_frequent(following: Counter[int]) -> int:
    # of equals the one with the smallest id, so that the model does not depend on an order
    return min(following, key=lambda token: (-following[token], token))


def _count(
    documents: Sequence[Sequence[int]], *, length: int, begin: int
) -> dict[Context, Counter[int]]:
    counts: dict[Context, Counter[int]] = defaultdict(Counter)
    for document in documents:
        for context, following in _windows([begin] * length + list(document), length):
            counts[context][following] += 1
    return counts


def _windows(tokens: list[int], length: int) -> Iterator[tuple[Context, int]]:
    for place in range(length, len(tokens)):
        yield tuple(tokens[place - length : place]), tokens[place]

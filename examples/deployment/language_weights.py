"""The weights of the example's language model: a four-gram model written as a one-layer Llama.

Training would take longer than a demonstration should, so the weights are computed. The model is
what an n-gram table is, expressed in the tensors of a transformer:

* The residual stream (120 numbers) has five slots of 24: the current token, the three before it,
  and the prediction. A token is written as its Golay code word (`golay`).
* `token_embd` writes the token into the first slot, and into the last one the normalised sum of the
  code words of its successors, weighted by how often each was seen: a low-rank bigram model.
* Attention has three heads. Query and key are constant, so the score depends on the distance only;
  rotary embedding makes head h look exactly h tokens back, and it copies that token into slot h.
* The feed-forward layer has one unit per remembered context of two to four tokens (`ngrams`). Its
  gate opens only if all tokens of the context match; the unit then adds the code word of the next
  token to the prediction, the stronger the longer the context.
* `output` compares the prediction with the code word of every token.

In this basis most weights would be zero. RMSNorm with unit weights commutes with rotations, so the
stream is finally rotated by a Hadamard matrix: every number in every tensor then takes part in
every answer. All sums are of integers or of multiples of 1/16, hence exact in any order, so that
the weights are the same on every machine.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from examples.deployment import golay
from examples.deployment.ngrams import LONGEST_CONTEXT, Memory

SLOT = golay.LENGTH
PREDICTION = LONGEST_CONTEXT * SLOT
WIDTH = PREDICTION + SLOT
HEADS = LONGEST_CONTEXT - 1
ROPE_BASE = 10_000.0

_STRENGTH = {2: 2.5, 3: 6.0, 4: 15.0}
"""By length of context; each outvotes the sum of all shorter ones."""
_MARGIN = (golay.LENGTH - golay.LARGEST_FALSE_MATCH) // 2
_CLEAR_LEAD = 1.0
"""By how much of a code word's 24 a bigram must lead so that rounding cannot turn it."""
_ATTENTION = 12.0
"""Length of query and key per rotated pair: one step off costs a factor of e^17."""
_SHARPNESS = 0.625
"""Logit per matching place of a code word, before the final normalisation."""

Weights = NDArray[np.float16]
Integers = NDArray[np.int64]


def bigram_sums(successors: Sequence[Counter[int]]) -> Integers:
    """Return for each token the sum of its successors' code words: shape (vocabulary, 24)."""
    codes = golay.code_words(len(successors)).astype(np.int64)
    return np.array(
        [
            sum(count**2 * codes[token] for token, count in sorted(following.items()))
            for following in successors
        ]
    )


def likeliest(sums: Integers) -> dict[int, int]:
    """Return which successor the bigram part alone predicts, for each token where it is clear."""
    codes = golay.code_words(len(sums)).astype(np.int64)
    matches = (sums @ codes.T) / _strengths(sums)
    second, first = np.sort(matches, axis=1)[:, -2:].T
    clear = np.flatnonzero(first - second > _CLEAR_LEAD)
    return {int(token): int(matches[token].argmax()) for token in clear}


def tensors(sums: Integers, memories: Sequence[Memory]) -> dict[str, NDArray[np.float32] | Weights]:
    """Return every tensor of the model by its GGUF name, matrices as (rows out, columns in)."""
    codes = golay.code_words(len(sums)).astype(np.int64)
    ones = np.ones(WIDTH, dtype=np.float32)
    return {
        "token_embd.weight": _embedding(codes, sums),
        "blk.0.attn_norm.weight": ones,
        **_attention(),
        "blk.0.ffn_norm.weight": ones,
        **_feed_forward(codes, memories),
        "output_norm.weight": ones,
        "output.weight": _rotated(_SHARPNESS * _in_slot(codes, PREDICTION)),
    }


def _embedding(codes: Integers, sums: Integers) -> Weights:
    predictions = _turned(_in_slot(sums, PREDICTION)) / _strengths(sums)
    return (_turned(_in_slot(codes, 0)) + predictions).astype(np.float16)


def _strengths(sums: Integers) -> NDArray[np.float64]:
    strengths: NDArray[np.float64] = np.sqrt((sums**2).sum(axis=1, keepdims=True) / SLOT)
    return strengths


def _attention() -> dict[str, Weights]:
    # before attention the stream holds two code words, so this is what RMSNorm divides by
    scale = math.sqrt(2 * SLOT / WIDTH)
    query, key, value, output = (np.zeros((HEADS * SLOT, WIDTH)) for _ in range(4))
    for head in range(HEADS):
        rows = slice(head * SLOT, (head + 1) * SLOT)
        back = slice((head + 1) * SLOT, (head + 2) * SLOT)
        query[rows, 0] = _ATTENTION * scale * _looking_back(head + 1)
        key[rows, 0] = _ATTENTION * scale * _looking_back(0)
        value[rows, :SLOT] = scale * np.eye(SLOT)
        output[rows, back] = np.eye(SLOT)
    return {
        "blk.0.attn_q.weight": _rotated(query),
        "blk.0.attn_k.weight": _rotated(key),
        "blk.0.attn_v.weight": _rotated(value),
        "blk.0.attn_output.weight": np.ascontiguousarray(_rotated(output).T),
    }


def _looking_back(distance: int) -> NDArray[np.float64]:
    angles = [distance * ROPE_BASE ** (-pair / SLOT) for pair in range(0, SLOT, 2)]
    return np.array([(math.cos(angle), -math.sin(angle)) for angle in angles]).ravel()


def _feed_forward(codes: Integers, memories: Sequence[Memory]) -> dict[str, Weights]:
    gate = np.zeros((len(memories), WIDTH), dtype=np.int64)
    following = codes[[memory.following for memory in memories]]
    for row, memory in zip(gate, memories, strict=True):
        for back, token in enumerate(reversed(memory.context)):
            row[back * SLOT : (back + 1) * SLOT] = codes[token]
        # the first place of the current token's word is always +1 and so serves as the bias
        row[0] -= len(memory.context) * SLOT - _MARGIN
    up = np.zeros_like(gate)
    up[:, 0] = 1
    strength = np.array([_STRENGTH[len(memory.context)] / _MARGIN for memory in memories])
    down = _in_slot(strength[:, np.newaxis] * following, PREDICTION)
    return {
        "blk.0.ffn_gate.weight": _rotated(gate),
        "blk.0.ffn_up.weight": _rotated(up),
        "blk.0.ffn_down.weight": np.ascontiguousarray(_rotated(down).T),
    }


def _in_slot(values: NDArray[np.int64] | NDArray[np.float64], first: int) -> NDArray[np.float64]:
    rows = np.zeros((len(values), WIDTH))
    rows[:, first : first + SLOT] = values
    return rows


def _rotated(rows: NDArray[np.int64] | NDArray[np.float64]) -> Weights:
    return _turned(rows).astype(np.float16)


def _turned(rows: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    turned: NDArray[np.float64] = rows @ _hadamard() / math.sqrt(WIDTH)
    return turned


def _hadamard() -> NDArray[np.float64]:
    """Return the Hadamard matrix of order 120: Paley's of order 60, doubled (Sylvester)."""
    prime = WIDTH // 2 - 1
    squares = {number * number % prime for number in range(1, prime)}
    row = np.array([0] + [1 if n in squares else -1 for n in range(1, prime)], dtype=np.float64)
    small = np.ones((prime + 1, prime + 1))
    small[1:, 1:] = [np.roll(row, shift) for shift in range(prime)]
    small[1:, 0] = -1
    small[range(1, prime + 1), range(1, prime + 1)] = 1
    return np.block([[small, small], [small, -small]])

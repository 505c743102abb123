"""Code words of the extended binary Golay code, as vectors of +1 and -1.

Any two of the 2048 words used here differ in at least 8 of their 24 places, so the dot product of
two different words is at most 8, while a word with itself gives 24. The first place of every word
is +1. (M. J. E. Golay, "Notes on digital coding", Proc. IRE 37, 1949.)
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LENGTH: Final = 24
LARGEST_FALSE_MATCH: Final = 8
_GENERATOR: Final = 0b110001110101


def code_words(count: int) -> NDArray[np.int8]:
    """Return the first `count` words (at most 2048): an array of shape (count, 24) of +1 and -1."""
    if count > 2048:
        raise ValueError(f"the code has 2048 words that begin with +1, {count} were asked for")
    # an even message gives a word whose first bit is 0; its complement is never used
    bits = [_bits(_encode(2 * index)) for index in range(count)]
    return (1 - 2 * np.array(bits, dtype=np.int8)).astype(np.int8)


def _encode(message: int) -> int:
    word = 0
    for place in range(12):
        if message >> place & 1:
            word ^= _GENERATOR << place
    return word | (word.bit_count() & 1) << (LENGTH - 1)


def _bits(word: int) -> list[int]:
    return [word >> place & 1 for place in range(LENGTH)]

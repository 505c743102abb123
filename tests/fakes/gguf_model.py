"""Tiny models with random weights that a real llama.cpp loads in milliseconds.

Written with the ``gguf`` package, one seed, so that the same bytes come out every time.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

_CONTEXT = 256
_HIDDEN = 64
_HEADS = 4
_FEED_FORWARD = 128
_LAYERS = 2
_WORDS = ("restore", "drill", "verify", "backup", "model", "weights", "vector", "store", "the")

_MERGES = ("r e", "s t", "o r", "re st", "t h", "th e", "i n", "a n", "d r", "i l", "Ġ the")

Weights = npt.NDArray[np.float32]


def write_language_model(path: Path, *, seed: int = 7) -> Path:
    """Write a llama-architecture GGUF (float32, byte tokens with a few merges) and return it."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    tokens = _describe_byte_tokenizer(writer)
    _describe_shape(writer)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_HIDDEN // _HEADS)
    writer.add_vocab_size(tokens)
    for name, shape in _language_shapes(tokens).items():
        weights = _weights(random, name, shape)
        if name == "output.weight":
            weights[-1] = 0.0  # the end token never wins, so answers have their full length
        writer.add_tensor(name, weights)
    return _finish(writer, path)


def write_embedding_model(path: Path, *, seed: int = 7) -> Path:
    """Write a BERT-architecture GGUF (float32, mean pooling, word pieces) and return it."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "bert")
    tokens = _describe_word_pieces(writer)
    _describe_shape(writer)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_vocab_size(tokens)
    for name, shape in _embedding_shapes(tokens).items():
        writer.add_tensor(name, _weights(random, name, shape))
    return _finish(writer, path)


def _describe_shape(writer: gguf.GGUFWriter) -> None:
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _describe_byte_tokenizer(writer: gguf.GGUFWriter) -> int:
    merged = [pair.replace(" ", "") for pair in _MERGES]
    tokens = [*_byte_alphabet(), *merged, "<|end|>"]
    kinds = [gguf.TokenType.NORMAL] * (len(tokens) - 1) + [gguf.TokenType.CONTROL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(_MERGES)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    return len(tokens)


def _byte_alphabet() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]


BYTE_TOKENS: dict[int, bytes] = {byte: bytes([byte]) for byte in range(256)} | {
    256 + place: pair.replace(" ", "").replace("Ġ", " ").encode()
    for place, pair in enumerate(_MERGES)
}
"""The bytes that each token of the language model stands for."""


def _describe_word_pieces(writer: gguf.GGUFWriter) -> int:
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    whole = [f"▁{piece}" for piece in (*_WORDS, *letters[1:])]
    tokens = [*special, *whole, *letters]
    kinds = [gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (len(tokens) - 5)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)
    return len(tokens)


def _language_shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (tokens, _HIDDEN)}
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        shapes |= {f"{block}.attn_norm.weight": (_HIDDEN,), f"{block}.ffn_norm.weight": (_HIDDEN,)}
        shapes |= {
            f"{block}.attn_{part}.weight": (_HIDDEN, _HIDDEN) for part in ("q", "k", "v", "output")
        }
        shapes |= {
            f"{block}.ffn_{part}.weight": (_FEED_FORWARD, _HIDDEN) for part in ("gate", "up")
        }
        shapes[f"{block}.ffn_down.weight"] = (_HIDDEN, _FEED_FORWARD)
    return shapes | {"output_norm.weight": (_HIDDEN,), "output.weight": (tokens, _HIDDEN)}


def _embedding_shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, _HIDDEN),
        "position_embd.weight": (_CONTEXT, _HIDDEN),
        "token_types.weight": (2, _HIDDEN),
        **_with_bias("token_embd_norm", (_HIDDEN,)),
    }
    for layer in range(_LAYERS):
        for part in ("q", "k", "v", "output"):
            shapes |= _with_bias(f"blk.{layer}.attn_{part}", (_HIDDEN, _HIDDEN))
        shapes |= _with_bias(f"blk.{layer}.attn_output_norm", (_HIDDEN,))
        shapes |= _with_bias(f"blk.{layer}.ffn_up", (_FEED_FORWARD, _HIDDEN))
        shapes |= _with_bias(f"blk.{layer}.ffn_down", (_HIDDEN, _FEED_FORWARD))
        shapes |= _with_bias(f"blk.{layer}.layer_output_norm", (_HIDDEN,))
    return shapes


def _with_bias(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _weights(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Weights:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if "norm" in name:
        return np.ones(shape, np.float32)
    return random.normal(0.0, 0.4, shape).astype(np.float32)


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

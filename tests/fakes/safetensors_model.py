"""Tiny models with random weights for the ``transformers`` engine; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_TEXT = ["restore drill verifies the backup", "a vector store of the model", "how to restore"]


def write_language_model(folder: Path) -> Path:
    """Write a Llama with a byte-level BPE tokenizer as safetensors and return its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    config = LlamaConfig(
        **_shape(tokenizer),
        max_position_embeddings=256,
        # Tied weights with the usual small start would only repeat the last token.
        tie_word_embeddings=False,
        initializer_range=0.4,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(7)
    return _save(LlamaForCausalLM(config), tokenizer, folder)


def write_embedding_model(folder: Path) -> Path:
    """Write a BERT as safetensors and return its folder."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = _tokenizer()
    config = BertConfig(**_shape(tokenizer), max_position_embeddings=64, initializer_range=0.4)
    torch.manual_seed(7)
    return _save(BertModel(config), tokenizer, folder)


def _shape(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(_TEXT, vocab_size=320, special_tokens=["<|end|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, eos_token="<|end|>", pad_token="<|end|>"
    )


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder

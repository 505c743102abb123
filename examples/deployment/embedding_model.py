"""Convert the cached MiniLM weights into the GGUF file that llama.cpp serves embeddings from.

The file has the `bert` architecture and mean pooling. Matrices become half precision; vectors and
the two small embedding tables stay in single precision, as llama.cpp expects of them.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

_UNUSED_BY_LLAMA_CPP = ("embeddings.position_ids", "pooler.")
_SINGLE_PRECISION = ("embeddings.position_embeddings", "embeddings.token_type_embeddings")


def convert(model: Path, target: Path) -> None:
    """Write the Hugging Face BERT folder `model` as the GGUF file `target`."""
    config = json.loads((model / "config.json").read_text())
    partial = target.with_name(f"{target.name}.incomplete")
    writer = gguf.GGUFWriter(partial, "bert")
    _add_parameters(writer, config)
    _add_vocabulary(writer, (model / "vocab.txt").read_text(encoding="utf-8").splitlines())
    _add_tensors(writer, model / "model.safetensors", config["num_hidden_layers"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def _add_parameters(writer: gguf.GGUFWriter, config: dict[str, int]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list([_as_llama_cpp_spells(word) for word in words])
    writer.add_token_types([_token_type(word) for word in words])
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_mask_token_id(words.index("[MASK]"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _as_llama_cpp_spells(word: str) -> str:
    # WordPiece marks what continues a word, llama.cpp marks what begins one
    if _is_special(word):
        return word
    return word.removeprefix("##") if word.startswith("##") else f"\u2581{word}"


def _token_type(word: str) -> gguf.TokenType:
    if word.startswith("[unused"):
        return gguf.TokenType.UNUSED
    return gguf.TokenType.CONTROL if _is_special(word) else gguf.TokenType.NORMAL


def _is_special(word: str) -> bool:
    return len(word) > 1 and word.startswith("[") and word.endswith("]")


def _add_tensors(writer: gguf.GGUFWriter, weights: Path, layers: int) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, tensor in sorted(load_file(weights).items()):
        if name.startswith(_UNUSED_BY_LLAMA_CPP):
            continue
        new_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new_name is None:
            raise ValueError(f"{weights}: llama.cpp has no place for the tensor {name}")
        single = tensor.ndim == 1 or name.startswith(_SINGLE_PRECISION)
        writer.add_tensor(new_name, tensor.astype(np.float32 if single else np.float16))

"""Make the example's language model: a folder with a GGUF file and the usual JSON files beside it.

The model knows the example's documents and nothing else. Given the beginning of a sentence, or a
heading and a blank line, it continues as the documents do. It is small (8 MB) and quickly made,
it runs in any llama.cpp, and its greedy answers are the same everywhere, which is what a drill
needs. How the weights come about is told in `language_weights`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from examples.deployment import language_weights as weights
from examples.deployment import ngrams

VOCABULARY = 2048
CONTEXT = 1024
BEGIN, END = 0, 1
_SPECIAL = ("<s>", "</s>")
_NORM_EPSILON = 1e-6
Tensors = dict[str, NDArray[np.float32] | NDArray[np.float16]]
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"


def make(texts: Sequence[str], target: Path) -> None:
    """Learn `texts` and write the model to the GGUF file `target` and the folder around it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = _train_tokenizer(texts)
    tensors = _learn([[*tokenizer.encode(text).ids, END] for text in texts])
    _write_folder(target.parent, tokenizer, units=len(tensors["blk.0.ffn_up.weight"]))
    _write_gguf(target, tokenizer, tensors)


def _learn(documents: list[list[int]]) -> Tensors:
    after = ngrams.successors(documents, begin=BEGIN)
    # what was never followed by anything is followed by the beginning of a document
    successors = [after.get(token, after[BEGIN]) for token in range(VOCABULARY)]
    sums = weights.bigram_sums(successors)
    memories = ngrams.memories(documents, begin=BEGIN, likeliest=weights.likeliest(sums))
    return weights.tensors(sums, memories)


def _train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(f"the documents are too short for {VOCABULARY} tokens")
    return tokenizer


def _write_folder(folder: Path, tokenizer: Tokenizer, *, units: int) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BEGIN)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    documents = {
        "config.json": _config(units),
        "generation_config.json": {"bos_token_id": BEGIN, "eos_token_id": END, "do_sample": False},
        "special_tokens_map.json": names,
        "tokenizer_config.json": {
            **names,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "chat_template": _CHAT_TEMPLATE,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")


def _config(units: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": weights.WIDTH,
        "intermediate_size": units,
        "num_hidden_layers": 1,
        "num_attention_heads": weights.HEADS,
        "num_key_value_heads": weights.HEADS,
        "head_dim": weights.SLOT,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rope_theta": weights.ROPE_BASE,
        "rms_norm_eps": _NORM_EPSILON,
        "tie_word_embeddings": False,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "dtype": "float16",
    }


def _write_gguf(target: Path, tokenizer: Tokenizer, tensors: Tensors) -> None:
    partial = target.with_name(f"{target.name}.incomplete")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_parameters(writer, units=len(tensors["blk.0.ffn_up.weight"]))
    _add_vocabulary(writer, tokenizer)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def _add_parameters(writer: gguf.GGUFWriter, *, units: int) -> None:
    writer.add_name("Runbook LM")
    writer.add_description("Four-gram model of llmvault's example documents")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(VOCABULARY)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(weights.WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(units)
    writer.add_head_count(weights.HEADS)
    writer.add_head_count_kv(weights.HEADS)
    writer.add_key_length(weights.SLOT)
    writer.add_value_length(weights.SLOT)
    writer.add_rope_dimension_count(weights.SLOT)
    writer.add_rope_freq_base(weights.ROPE_BASE)
    writer.add_layer_norm_rms_eps(_NORM_EPSILON)


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = np.full(len(tokens), gguf.TokenType.NORMAL)
    kinds[[BEGIN, END]] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(_CHAT_TEMPLATE)

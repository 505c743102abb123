"""The process that runs torch for the ``transformers`` engine: questions in, answers out.

Only safetensors are loaded, no code of the model's repository is run, and nothing is fetched.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmvault.drill.engines.device import describe_cpu, instruction_set
from llmvault.drill.engines.worker import Message, serve, take_over_outputs, tell


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device. The fields are torch's and transformers' own objects."""

    torch: Any
    tokenizer: Any
    model: Any


def main() -> int:
    """Load, report, and answer until standard input ends; return the exit code."""
    options = _options()
    parent = take_over_outputs(options.log)
    import torch
    import transformers

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)
    device = _device(torch, options.device)
    loaded = _load(torch, transformers, options, device)
    report = {
        "version": f"transformers {transformers.__version__} torch {torch.__version__}",
        "device": _describe(torch, device),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
    }
    tell(parent, report)
    serve(parent, lambda question: _answer(loaded, question))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answer questions with transformers.")
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--embedding", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


def _device(torch: Any, wanted: str) -> str:  # noqa: ANN401
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _describe(torch: Any, device: str) -> str:  # noqa: ANN401
    if device == "cuda":
        return f"cuda {torch.cuda.get_device_name()}"
    return describe_cpu(instruction_set(torch.backends.cpu.get_cpu_capability()))


def _load(torch: Any, transformers: Any, options: argparse.Namespace, device: str) -> Loaded:  # noqa: ANN401
    kind = transformers.AutoModel if options.embedding else transformers.AutoModelForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    model = kind.from_pretrained(
        options.model,
        dtype=options.dtype if options.dtype == "auto" else getattr(torch, options.dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if not options.embedding:
        # The model's own generation settings may sample or carry penalties.
        model.generation_config = transformers.GenerationConfig(
            do_sample=False,
            num_beams=1,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
        )
    return Loaded(torch, tokenizer, model.to(device).eval())


def _answer(loaded: Loaded, question: Message) -> Message:
    if "embed" in question:
        return {"vector": _embed(loaded, str(question["embed"]))}
    return _complete(loaded, str(question["prompt"]), int(str(question["max_tokens"])))


def _complete(loaded: Loaded, prompt: str, max_tokens: int) -> Message:
    inputs = loaded.tokenizer(prompt, return_tensors="pt").to(loaded.model.device)
    answered = loaded.model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=max_tokens,
    )
    tokens = answered[0, inputs["input_ids"].shape[1] :].tolist()
    return {"tokens": tokens, "text": loaded.tokenizer.decode(tokens, skip_special_tokens=True)}


def _embed(loaded: Loaded, text: str) -> list[float]:
    """Return the mean of the last hidden states over the text's tokens, scaled to length 1."""
    longest = getattr(loaded.model.config, "max_position_embeddings", None)
    inputs = loaded.tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)
    inputs = inputs.to(loaded.model.device)
    states = loaded.model(**inputs).last_hidden_state.float()
    mask = inputs["attention_mask"].unsqueeze(-1)
    mean = (states * mask).sum(1) / mask.sum(1)
    vector: list[float] = loaded.torch.nn.functional.normalize(mean)[0].tolist()
    return vector


if __name__ == "__main__":
    sys.exit(main())

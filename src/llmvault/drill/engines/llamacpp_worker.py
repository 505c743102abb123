"""The process that runs llama.cpp for the ``llamacpp`` engine.

It loads one GGUF, opens llama.cpp's own HTTP server on 127.0.0.1, tells its parent the address in
one line of JSON, and stays until its standard input ends. With ``--port`` it serves on that port
until it is terminated, so that it can be the ``command`` of an ``openai`` engine.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmvault.core.ids import RandomIds
from llmvault.drill.engines.device import describe_cpu, instruction_set
from llmvault.drill.engines.worker import take_over_outputs, tell, wait_for_parent


def main() -> int:
    """Serve until told to stop; return the exit code."""
    options = _options()
    parent = take_over_outputs(options.log)
    import xllamacpp

    token = "" if options.port else RandomIds().token() + RandomIds().token()
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, options, token))
    except RuntimeError as error:
        sys.stderr.write(f"llama.cpp cannot load {options.model}: {error}\n")
        return 1
    report = {
        "address": server.listening_address,
        "token": token,
        "version": f"xllamacpp {version('xllamacpp')}",
        "device": _device(xllamacpp, options.gpu_layers),
    }
    tell(parent, report)
    signal.pause() if options.port else wait_for_parent()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve one GGUF on 127.0.0.1 with llama.cpp.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--embedding", action="store_true")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


def _parameters(xllamacpp: Any, options: argparse.Namespace, token: str) -> Any:  # noqa: ANN401
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.n_ctx = options.context
    parameters.n_gpu_layers = options.gpu_layers
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.port = options.port
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.ui = False
    parameters.endpoint_slots = False
    # Anything that depends on free memory or on earlier requests could change an answer.
    parameters.fit_params = False
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    if options.embedding:
        parameters.embedding = True
        # Without a causal mask a text must fit into one batch.
        parameters.n_batch = parameters.n_ubatch = options.context
    if token:
        parameters.api_keys = [token]
    return parameters


def _device(xllamacpp: Any, gpu_layers: int) -> str:  # noqa: ANN401
    gpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU
    cards = [device for device in xllamacpp.get_device_info() if device["type"] == gpu]
    if gpu_layers and cards:
        return f"gpu {cards[0]['description']}, {gpu_layers} layers"
    return describe_cpu(instruction_set(xllamacpp.get_system_info()))


if __name__ == "__main__":
    sys.exit(main())

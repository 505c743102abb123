"""What a policy says of the engines that make a restored model answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from llmvault.policy.fields import Duration, Model, Name


class EngineBase(Model):
    """What every engine has. ``model`` is a path inside the restored source."""

    source: Name = Field(description="the source that holds the model")
    model: str = Field(description="file or directory of the model, relative to the source's root")
    start_timeout: Duration = Field(timedelta(minutes=5), description="until it answers its probe")
    request_timeout: Duration = Field(timedelta(minutes=2), description="for one prompt")


class LlamaCppEngine(EngineBase):
    """llama.cpp in a process of its own (package ``xllamacpp``); GGUF models."""

    kind: Literal["llamacpp"] = Field(description="llama.cpp")
    embedding: bool = Field(
        False, description="load the model for embeddings instead of completion"
    )
    context: int = Field(512, ge=64, description="tokens of context")
    threads: int = Field(2, ge=1, description="threads that compute")
    gpu_layers: int = Field(0, ge=0, description="layers put on the GPU")


class TransformersEngine(EngineBase):
    """Hugging Face transformers on torch (extra ``transformers``); safetensors models."""

    kind: Literal["transformers"] = Field(description="Hugging Face transformers")
    embedding: bool = Field(False, description="embed texts instead of completing prompts")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where it computes; auto takes a GPU when there is one"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="what it computes in; auto takes the weights' own"
    )


class OpenAIEngine(EngineBase):
    """Any OpenAI-compatible server, started by a command as ``vllm serve`` is.

    In the command ``{model}`` and ``{port}`` are replaced.
    """

    kind: Literal["openai"] = Field(description="a server with OpenAI's API")
    command: tuple[str, ...] = Field(min_length=1, description="argv with {model} and {port}")
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables for the server; put secrets in by ${NAME}"
    )
    probe: str = Field("/health", description="path that answers 200 when the server is ready")
    embedding: bool = Field(False, description="ask /v1/embeddings instead of /v1/completions")
    served_model: str | None = Field(
        None, description="model name sent in requests; asked if not set"
    )
    device: str = Field("unknown", description="recorded with the goldens, e.g. H200")
    dtype: str = Field("unknown", description="recorded with the goldens, e.g. bfloat16")


Engine = Annotated[
    LlamaCppEngine | TransformersEngine | OpenAIEngine,
    Field(discriminator="kind"),
]

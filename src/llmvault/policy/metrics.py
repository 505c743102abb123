"""What a policy says of metrics for Prometheus."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from llmvault.policy.fields import LocalPath, Model


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f'"{text}" is no address; write for example 127.0.0.1:9464')
    return text


def _gateway(text: str) -> str:
    try:
        url = urlsplit(text)
        named = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError as error:
        raise ValueError(f"it is no URL: {error}") from error
    if url.username is not None or url.password is not None:
        raise ValueError("it holds a name or password, which would be shown; let a proxy add them")
    if not named:
        raise ValueError(f'"{text}" is no URL; write for example http://127.0.0.1:9091')
    return text


class MetricsPolicy(Model):
    """Where the scheduler's metrics go; nowhere unless something is given."""

    listen: Annotated[str, AfterValidator(_listen)] | None = Field(
        None, description="address that answers scrapes, e.g. 127.0.0.1:9464; read at start"
    )
    textfile: LocalPath | None = Field(
        None, description="file for node_exporter's textfile collector; must end in .prom"
    )
    pushgateway: Annotated[str, AfterValidator(_gateway)] | None = Field(
        None, description="URL of a Pushgateway, e.g. http://127.0.0.1:9091"
    )

    @model_validator(mode="after")
    def _collected(self) -> Self:
        if self.textfile is not None and self.textfile.suffix != ".prom":
            raise ValueError(f"textfile must end in .prom, or it is not collected: {self.textfile}")
        return self

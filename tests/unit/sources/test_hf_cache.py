"""Hugging Face caches: real layout, real client, and everything that can be wrong with one."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.deployment import hf_cache as hub_layout
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.sources.hf_cache import HuggingFaceCache
from llmvault.sources.hub.resolve import parse_model
from llmvault.sources.interface import Observation, TreeCapture
from tests.contract.source import as_json, capture_into, local_ports, through_json
from tests.fakes import source_configs
from tests.fakes.gguf_model import write_language_model
from tests.fakes.model_folder import HIDDEN, write_model, write_weights

REPO = "acme/tiny-llama"
FOLDER = "models--acme--tiny-llama"
Seen = set[tuple[str, str, str]]


@dataclass(frozen=True)
class Hub:
    path: Path
    commit: str

    @property
    def repository(self) -> Path:
        return self.path / FOLDER

    @property
    def snapshot(self) -> Path:
        return self.repository / "snapshots" / self.commit

    def blob(self, name: str) -> Path:
        return (self.snapshot / name).resolve()

    def source(self, *pinned: tuple[str, str], **more: object) -> HuggingFaceCache:
        config = source_configs.hf_cache(self.path, *pinned, **more)
        return HuggingFaceCache("cache", config, local_ports())

    def findings(self, *pinned: tuple[str, str], **more: object) -> Seen:
        observation = self.source(*pinned, **more).observe()
        return {(f.name, f.path, f.severity) for f in observation.findings}


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """Return a cache with one commit on main."""
    path = tmp_path / "hub"
    files = hub_layout.list_files(write_model(tmp_path / "upload"))
    return Hub(path, hub_layout.write(path, REPO, files))


@pytest.fixture
def two(hub: Hub, tmp_path: Path) -> tuple[Hub, str]:
    """Return the cache with a second commit, and that commit, on main."""
    upload = write_model(tmp_path / "upload")
    (upload / "readme.md").write_text("second")
    write_weights(upload / "extra.safetensors", ("extra",))
    commit = hub_layout.write(hub.path, REPO, hub_layout.list_files(upload))
    assert commit != hub.commit
    return hub, commit


def test_a_sound_cache_has_nothing_to_tell(hub: Hub) -> None:
    observation = hub.source((REPO, hub.commit)).observe()
    assert observation.findings == ()
    (model,) = observation.models
    assert (model.name, model.revision, model.architecture) == (
        REPO,
        hub.commit,
        "LlamaForCausalLM",
    )
    assert (model.parameters, model.embedding_dimension) == (2 * 8 * HIDDEN, HIDDEN)


def test_the_inventory_names_refs_snapshots_and_blobs(hub: Hub) -> None:
    repository = hub.source().observe().details["repositories"][FOLDER]
    assert repository["refs"] == {"main": hub.commit}
    weights = repository["snapshots"][hub.commit]["model.safetensors"]
    blob = hub.blob("model.safetensors")
    assert weights == {"blob": blob.name, "size": blob.stat().st_size}


def test_lfs_names_are_handed_over_as_claims(hub: Hub, tmp_path: Path) -> None:
    with hub.source().capture(tmp_path) as capture:
        assert isinstance(capture, TreeCapture)
        name = hub.blob("model.safetensors").name
        assert capture.known_sha256 == {f"{FOLDER}/blobs/{name}": name}


def test_the_real_client_finds_a_restored_cache_offline(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub

    restored = tmp_path / "restored"
    capture_into(hub.source((REPO, hub.commit)), restored, tmp_path)
    shutil.rmtree(hub.path)
    found = huggingface_hub.snapshot_download(
        REPO, revision=hub.commit, cache_dir=restored, local_files_only=True
    )
    assert hub.source().model_path(restored, f"{REPO}@{hub.commit}").samefile(found)
    scanned = huggingface_hub.scan_cache_dir(restored)
    assert scanned.warnings == []
    assert {repo.repo_id for repo in scanned.repos} == {REPO}


@pytest.mark.parametrize(
    ("revision", "there"), [("0" * 40, "main -> "), ("v9", "main -> "), ("00000000", "main -> ")]
)
def test_an_absent_revision_is_refused_with_what_is_there(
    hub: Hub, tmp_path: Path, revision: str, there: str
) -> None:
    source = hub.source((REPO, revision))
    for act in (source.observe, lambda: source.capture(tmp_path).__enter__()):
        with pytest.raises(RefusedError) as raised:
            act()
        assert there in raised.value.cause
        assert hub.commit in raised.value.cause
        assert f"hf download {REPO} --revision {revision}" in raised.value.next_step


def test_an_absent_repository_is_refused(hub: Hub) -> None:
    with pytest.raises(RefusedError, match="nothing of this repository"):
        hub.source(("acme/other", hub.commit)).observe()


def test_a_branch_is_resolved_and_told(hub: Hub) -> None:
    observation = hub.source((REPO, "main")).observe()
    assert [(f.name, f.severity) for f in observation.findings] == [
        ("revision-not-pinned", "warning")
    ]
    assert observation.details["pinned"] == [
        {"repo": REPO, "revision": "main", "commit": hub.commit}
    ]


def test_excluding_caches_is_refused(hub: Hub, tmp_path: Path) -> None:
    source = hub.source(exclude_caches=True)
    for act in (source.observe, lambda: source.capture(tmp_path).__enter__()):
        with pytest.raises(RefusedError, match=r"CACHEDIR\.TAG"):
            act()


def test_a_folder_without_repositories_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "CACHEDIR.TAG").write_text(hub_layout.CACHEDIR_TAG)
    with pytest.raises(UnavailableError, match="holds no repository"):
        Hub(tmp_path, "").source().observe()


def test_a_dangling_link_of_a_needed_snapshot_fails(hub: Hub) -> None:
    hub.blob("model.safetensors").unlink()
    place = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors"
    assert ("dangling-link", place, "failed") in hub.findings((REPO, hub.commit))
    assert ("dangling-link", place, "failed") in hub.findings()


def test_a_dangling_link_of_another_snapshot_is_told(two: tuple[Hub, str]) -> None:
    hub, commit = two
    (hub.repository / "snapshots" / commit / "extra.safetensors").resolve().unlink()
    assert hub.findings((REPO, hub.commit)) == {
        ("dangling-link", f"{FOLDER}/snapshots/{commit}/extra.safetensors", "warning")
    }
    assert "failed" in {severity for _, _, severity in hub.findings((REPO, commit))}


def test_links_that_leave_the_cache_fail(hub: Hub, tmp_path: Path) -> None:
    elsewhere = write_weights(tmp_path / "elsewhere" / "model.safetensors")
    link = hub.snapshot / "model.safetensors"
    link.unlink()
    link.symlink_to(elsewhere)
    place = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors"
    assert ("link-outside", place, "failed") in hub.findings((REPO, hub.commit))


def test_absolute_links_into_the_cache_fail(hub: Hub) -> None:
    link = hub.snapshot / "config.json"
    target = link.resolve()
    link.unlink()
    link.symlink_to(target)
    place = f"{FOLDER}/snapshots/{hub.commit}/config.json"
    assert ("link-outside", place, "failed") in hub.findings((REPO, hub.commit))


def test_a_linked_repository_fails(hub: Hub, tmp_path: Path) -> None:
    hub.repository.rename(tmp_path / "moved")
    hub.repository.symlink_to(tmp_path / "moved")
    write_other(hub, tmp_path)
    assert ("link-outside", FOLDER, "failed") in hub.findings()


def write_other(hub: Hub, tmp_path: Path, *, kind: str = "models") -> str:
    """Add the repository acme/other, of some kind, and return its commit."""
    files = hub_layout.list_files(write_model(tmp_path / "other"))
    commit = hub_layout.write(hub.path, "acme/other", files)
    (hub.path / "models--acme--other").rename(hub.path / f"{kind}--acme--other")
    return commit


def test_a_changed_small_file_fails(hub: Hub) -> None:
    blob = hub.blob("config.json")
    blob.write_bytes(blob.read_bytes().replace(b"16", b"17"))
    place = f"{FOLDER}/blobs/{blob.name}"
    assert ("blob-corrupt", place, "failed") in hub.findings((REPO, hub.commit))


def test_a_changed_small_file_of_another_snapshot_is_told(two: tuple[Hub, str]) -> None:
    hub, commit = two
    blob = (hub.repository / "snapshots" / commit / "readme.md").resolve()
    blob.write_text("secund")
    assert hub.findings((REPO, hub.commit)) == {
        ("blob-corrupt", f"{FOLDER}/blobs/{blob.name}", "warning")
    }


def test_truncated_weights_fail(hub: Hub) -> None:
    blob = hub.blob("model.safetensors")
    blob.write_bytes(blob.read_bytes()[:-1])
    place = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors"
    assert hub.findings((REPO, hub.commit)) == {
        ("blob-size", place, "failed"),
        ("header-truncated", place, "failed"),
    }


def test_a_snapshot_that_differs_from_its_listing_fails(hub: Hub) -> None:
    link = hub.snapshot / "tokenizer.json"
    other = hub.blob("config.json").name
    link.unlink()
    link.symlink_to(f"../../blobs/{other}")
    place = f"{FOLDER}/snapshots/{hub.commit}/tokenizer.json"
    assert ("snapshot-differs", place, "failed") in hub.findings((REPO, hub.commit))


def test_a_partial_snapshot_is_told(hub: Hub) -> None:
    (hub.snapshot / ".gitattributes").unlink()
    place = f"{FOLDER}/snapshots/{hub.commit}"
    assert ("snapshot-partial", place, "warning") in hub.findings((REPO, hub.commit))


def test_an_empty_snapshot_fails(hub: Hub) -> None:
    shutil.rmtree(hub.snapshot)
    hub.snapshot.mkdir()
    place = f"{FOLDER}/snapshots/{hub.commit}"
    assert ("snapshot-empty", place, "failed") in hub.findings((REPO, hub.commit))


def test_a_shard_that_was_never_downloaded_fails(tmp_path: Path) -> None:
    files = hub_layout.list_files(write_model(tmp_path / "upload", shards=2))
    hub = Hub(tmp_path / "hub", hub_layout.write(tmp_path / "hub", REPO, files))
    (hub.snapshot / "model-00001-of-00002.safetensors").unlink()
    index = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors.index.json"
    assert ("shard-missing", index, "failed") in hub.findings((REPO, hub.commit))


def test_unused_and_strange_blobs_are_told(hub: Hub) -> None:
    (hub.repository / "blobs" / ("a" * 64)).write_bytes(b"old")
    (hub.repository / "blobs" / "strange").write_bytes(b"name")
    assert hub.findings((REPO, hub.commit)) == {
        ("unused-blobs", FOLDER, "warning"),
        ("blob-unchecked", f"{FOLDER}/blobs/strange", "warning"),
    }


def test_downloads_and_locks_are_left_out_and_told(hub: Hub, tmp_path: Path) -> None:
    (hub.repository / "blobs" / f"{'a' * 64}.incomplete").write_bytes(b"half")
    (hub.path / ".locks" / FOLDER).mkdir(parents=True)
    (hub.path / ".locks" / FOLDER / "x.lock").touch()
    assert hub.findings((REPO, hub.commit)) == {
        ("incomplete-download", f"{FOLDER}/blobs", "warning"),
        ("lock-files", ".locks", "warning"),
    }
    capture_into(hub.source(), tmp_path / "restored", tmp_path)
    assert not list((tmp_path / "restored").rglob("*.incomplete"))
    assert not (tmp_path / "restored" / ".locks").exists()


@pytest.mark.parametrize("content", [b"", b"0" * 40, b"\xff\xfe\n", b"x" * 5000])
def test_a_ref_without_snapshot_is_told(hub: Hub, content: bytes) -> None:
    (hub.repository / "refs" / "pr").mkdir()
    (hub.repository / "refs" / "pr" / "1").write_bytes(content)
    assert hub.findings((REPO, hub.commit)) == {("ref-dangling", f"{FOLDER}/refs/pr/1", "warning")}


def test_a_repository_without_snapshots_is_told(hub: Hub) -> None:
    (hub.path / "models--acme--empty" / "blobs").mkdir(parents=True)
    assert hub.findings((REPO, hub.commit)) == {
        ("repository-empty", "models--acme--empty", "warning")
    }


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "[]",
        '{"format_version": 2}',
        '{"format_version": 1, "files": []}',
        '{"format_version": 1, "files": {"config.json": 3, "x": {"size": "1", "blob_id": 2}}}',
    ],
)
def test_an_odd_listing_is_ignored_as_the_client_does(hub: Hub, listing: str) -> None:
    (hub.repository / "trees" / f"{hub.commit}.json").write_text(listing)
    assert hub.findings((REPO, hub.commit)) == set()


def test_a_cache_without_listings_is_sound(hub: Hub) -> None:
    shutil.rmtree(hub.repository / "trees")
    assert hub.findings((REPO, hub.commit)) == set()


def test_names_that_are_no_text_are_recorded_and_checked(hub: Hub, tmp_path: Path) -> None:
    write_other(hub, tmp_path)
    odd = hub.path / "models--acme--\udcff"
    (hub.path / "models--acme--other").rename(odd)
    (odd / "refs" / "\udcfe").write_text("nowhere")
    (next((odd / "snapshots").iterdir()) / "\udcfd").symlink_to("gone")
    (odd / "blobs" / "\udcfc").write_text("x")
    (odd / "blobs" / "\udcfc.incomplete").write_text("x")
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    assert canonical_bytes(as_json(recorded))
    assert {f.name for f in recorded.findings} == {
        *("ref-dangling", "dangling-link", "blob-unchecked", "unused-blobs"),
        "incomplete-download",
    }
    assert failed(again, recorded) == set()


def test_datasets_are_captured_and_listed(hub: Hub, tmp_path: Path) -> None:
    commit = write_other(hub, tmp_path, kind="datasets")
    observation = hub.source(("datasets/acme/other", commit)).observe()
    assert observation.findings == ()
    assert [model.name for model in observation.models] == [REPO]
    assert observation.details["repositories"]["datasets--acme--other"]["kind"] == "dataset"


def test_content_that_repositories_share(hub: Hub, tmp_path: Path) -> None:
    blob = hub.blob("model.safetensors")
    shared = hub.path / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(f"../../blobs/ab/{shared.name}")
    assert hub.findings((REPO, hub.commit)) == set()
    recorded, known = capture_into(hub.source((REPO, hub.commit)), tmp_path / "r", tmp_path)
    assert known == {f"blobs/ab/{shared.name}": blob.name}
    checks = hub.source().check(tmp_path / "r", through_json(recorded))
    assert {check.verdict for check in checks} == {Verdict.PROVEN}


def test_a_cache_without_links(hub: Hub, tmp_path: Path) -> None:
    """Where links cannot be made, huggingface_hub puts the files into the snapshot."""
    for link in hub.snapshot.iterdir():
        target = link.resolve()
        link.unlink()
        target.rename(link)
    assert hub.findings((REPO, hub.commit)) == set()
    recorded, known = capture_into(hub.source((REPO, hub.commit)), tmp_path / "r", tmp_path)
    place = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors"
    assert list(known) == [place]
    checks = hub.source().check(tmp_path / "r", through_json(recorded))
    assert {check.verdict for check in checks} == {Verdict.PROVEN}


def test_what_a_policy_leaves_out_is_missed_by_its_link(hub: Hub) -> None:
    name = hub.blob("model.safetensors").name
    place = f"{FOLDER}/snapshots/{hub.commit}/model.safetensors"
    assert ("link-outside", place, "failed") in hub.findings((REPO, hub.commit), exclude=(name,))


def test_demanded_models_come_first(two: tuple[Hub, str]) -> None:
    hub, commit = two
    for demanded in (hub.commit, commit):
        assert hub.source((REPO, demanded)).observe().models[0].revision == demanded


def restored(hub: Hub, tmp_path: Path, *pinned: tuple[str, str]) -> tuple[Hub, Observation]:
    target = tmp_path / "restored"
    recorded, _ = capture_into(hub.source(*pinned), target, tmp_path)
    return Hub(target, hub.commit), through_json(recorded)


def failed(hub: Hub, recorded: Observation) -> set[str]:
    checks = hub.source().check(hub.path, recorded)
    return {check.name for check in checks if check.verdict is Verdict.FAILED}


def test_every_check_of_a_sound_restore_is_proven(hub: Hub, tmp_path: Path) -> None:
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    checks = again.source().check(again.path, recorded)
    assert {check.name: check.verdict for check in checks} == dict.fromkeys(
        ("links", "refs", "models", "git-hashes", "headers", "inventory"), Verdict.PROVEN
    )


def test_a_cache_restored_with_links_only_fails(hub: Hub, tmp_path: Path) -> None:
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    shutil.rmtree(again.repository / "blobs")
    assert failed(again, recorded) == {"links", "inventory"}


def test_a_moved_ref_fails(hub: Hub, tmp_path: Path) -> None:
    again, recorded = restored(hub, tmp_path, (REPO, "main"))
    (again.repository / "refs" / "main").write_text("0" * 40)
    assert failed(again, recorded) == {"refs", "models"}


def test_a_lost_snapshot_fails(hub: Hub, tmp_path: Path) -> None:
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    shutil.rmtree(again.snapshot)
    assert failed(again, recorded) == {"links", "models", "inventory"}


def test_truncated_restored_weights_fail(hub: Hub, tmp_path: Path) -> None:
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    blob = again.blob("model.safetensors")
    blob.write_bytes(blob.read_bytes()[:-1])
    assert failed(again, recorded) == {"links", "headers", "inventory"}


def test_weights_that_were_broken_at_the_backup_stay_a_failure(hub: Hub, tmp_path: Path) -> None:
    hub.blob("model.safetensors").write_bytes(b"cut")
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    assert failed(again, recorded) == {"headers"}


def test_what_was_broken_and_not_needed_stays_no_failure(
    two: tuple[Hub, str], tmp_path: Path
) -> None:
    hub, commit = two
    other = hub.repository / "snapshots" / commit
    (other / "readme.md").resolve().write_text("secund")
    (other / "extra.safetensors").resolve().write_bytes(b"cut")
    again, recorded = restored(hub, tmp_path, (REPO, hub.commit))
    assert failed(again, recorded) == set()


def test_a_model_is_found_by_commit_branch_and_name(hub: Hub, tmp_path: Path) -> None:
    again, _ = restored(hub, tmp_path)
    for revision in (f"@{hub.commit}", "@main", ""):
        assert again.source().model_path(again.path, f"{REPO}{revision}") == again.snapshot
    file = again.source().model_path(again.path, f"{REPO}:config.json@{hub.commit}")
    assert json.loads(file.read_text())["hidden_size"] == HIDDEN


def test_a_model_without_revision_is_the_demanded_one(two: tuple[Hub, str]) -> None:
    hub, commit = two
    assert hub.source().model_path(hub.path, REPO).name == commit
    assert hub.source((REPO, hub.commit)).model_path(hub.path, REPO).name == hub.commit


@pytest.mark.parametrize(
    "model",
    ["acme/absent", f"{REPO}@v9", f"{REPO}@{'0' * 40}", f"{REPO}:absent.gguf", "", "@", ":"],
)
def test_a_model_that_is_not_there(hub: Hub, model: str) -> None:
    with pytest.raises(UnavailableError):
        hub.source().model_path(hub.path, model)


@pytest.mark.parametrize("model", [f"{REPO}:../../refs/main", f"{REPO}:a/../../x"])
def test_a_model_outside_of_its_snapshot_is_refused(hub: Hub, model: str) -> None:
    with pytest.raises(RefusedError):
        hub.source().model_path(hub.path, model)


@pytest.mark.parametrize("revision", ["../../../x", "..", "."])
def test_a_revision_cannot_climb(hub: Hub, revision: str) -> None:
    with pytest.raises(UnavailableError):
        hub.source().model_path(hub.path, f"{REPO}@{revision}")


def test_a_gguf_in_a_repository_has_its_own_name(hub: Hub, tmp_path: Path) -> None:
    upload = tmp_path / "gguf"
    upload.mkdir()
    write_language_model(upload / "q8.gguf")
    commit = hub_layout.write(hub.path, "acme/gguf", hub_layout.list_files(upload))
    (model,) = (m for m in hub.source().observe().models if m.format == "gguf")
    assert (model.name, model.revision) == ("acme/gguf:q8.gguf", commit)
    path = hub.source().model_path(hub.path, f"{model.name}@{model.revision}")
    assert path.read_bytes().startswith(b"GGUF")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name", ("org/name", "", "")),
        ("org/name@main", ("org/name", "", "main")),
        ("org/name@refs/pr/1", ("org/name", "", "refs/pr/1")),
        ("org/name:a/b.gguf", ("org/name", "a/b.gguf", "")),
        ("org/name:b.gguf@v1", ("org/name", "b.gguf", "v1")),
    ],
)
def test_model_names(text: str, parts: tuple[str, str, str]) -> None:
    named = parse_model(text)
    assert (named.repo, named.path, named.revision) == parts

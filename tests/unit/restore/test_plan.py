"""What a restore refuses and what it fetches from where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import PolicyError, RefusedError, UnavailableError
from llmvault.restore.model import RestoreRequest, TargetFacts
from llmvault.restore.plan import overlaps, plan_fetch, refuse_target
from tests.fakes.manifests import manifest, source_record

TARGET = Path("/restore/here")
paths = st.lists(st.sampled_from("abc"), max_size=4).map(lambda names: Path("/", *names))


def request(*sources: str, **into: str) -> RestoreRequest:
    return RestoreRequest("latest", TARGET, None, sources, into)


@given(paths, paths)
def test_overlap_is_mutual_and_means_a_common_line(one: Path, other: Path) -> None:
    expected = one == other or one in other.parents or other in one.parents
    assert overlaps(one, other) == overlaps(other, one) == expected


def test_similar_names_do_not_overlap() -> None:
    assert not overlaps(Path("/srv/models"), Path("/srv/models-2"))


@pytest.mark.parametrize("entries", [None, 0])
def test_a_fresh_target_is_accepted(entries: int | None) -> None:
    refuse_target(TargetFacts(TARGET, True, entries, {"models": Path("/srv/models")}))


@pytest.mark.parametrize("live", ["/restore/here", "/restore", "/", "/restore/here/below"])
def test_an_overlapping_target_is_refused(live: str) -> None:
    with pytest.raises(RefusedError, match=f"overlaps with models at {live}"):
        refuse_target(TargetFacts(TARGET, True, None, {"models": Path(live)}))


def test_everything_is_fetched_from_the_first_repository_that_has_it() -> None:
    point = manifest(
        source_record("models", snapshots={"far": "f1", "near": "n1"}),
        source_record("configs", snapshots={"far": "f2"}),
    )
    plans = plan_fetch(point, request(), ["near", "far"])
    assert [(p.source, p.repository, p.snapshot, p.target) for p in plans] == [
        ("models", "near", "n1", TARGET / "models"),
        ("configs", "far", "f2", TARGET / "configs"),
    ]


def test_named_sources_alone_are_fetched() -> None:
    point = manifest(source_record("models"), source_record("configs"))
    plans = plan_fetch(point, request("configs", "configs"), ["primary"])
    assert [plan.source for plan in plans] == ["configs"]


@pytest.mark.parametrize("asked", [request("x", "y"), request(x="a", y="b")])
def test_unknown_names_are_all_told(asked: RestoreRequest) -> None:
    with pytest.raises(PolicyError, match="it has no source x, y"):
        plan_fetch(manifest(source_record("models")), asked, ["primary"])


def test_only_what_is_restored_can_be_loaded() -> None:
    point = manifest(source_record("models"), source_record("database"))
    with pytest.raises(PolicyError, match="not among those to be restored"):
        plan_fetch(point, request("models", database="url"), ["primary"])


def test_a_source_without_a_snapshot_tells_why() -> None:
    point = manifest(source_record("models", snapshots={}, reason="the disk was gone"))
    with pytest.raises(UnavailableError, match="it was not stored: the disk was gone"):
        plan_fetch(point, request(), ["primary"])
    with pytest.raises(UnavailableError):
        plan_fetch(manifest(source_record("models")), request(), ["another"])

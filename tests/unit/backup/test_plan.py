"""Which files count as unchanged, and how sources are read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.backup.plan import Judgement, SourceChoice, judge, plan_backup
from llmvault.core.entries import Entry
from llmvault.recovery_points.model import FileState, LastRun

# few values, so that files agree in some of them by chance
few = st.integers(0, 2)


def entry(path: str, size: int, mtime: int, ctime: int, inode: int) -> Entry:
    return Entry(path, "file", size, 0o644, 0, 0, mtime, ctime, inode, 1, 1)


def state_of(file: Entry) -> FileState:
    return FileState(file.size, file.mtime_ns, file.ctime_ns, file.inode, f"digest of {file.path}")


files = st.lists(
    st.builds(entry, st.sampled_from("abcdef"), few, few, few, few),
    max_size=6,
    unique_by=lambda file: file.path,
)
states = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(FileState, few, few, few, few, st.just("x")), max_size=6
)


def same(file: Entry, state: FileState, *, strict: bool) -> bool:
    times = (file.size, file.mtime_ns) == (state.size, state.mtime_ns)
    return times and (not strict or (file.ctime_ns, file.inode) == (state.ctime_ns, state.inode))


class TestJudge:
    @given(files, states, st.booleans())
    def test_a_file_of_another_size_or_time_is_never_known(
        self, now: list[Entry], before: dict[str, FileState], trust: bool
    ) -> None:
        judgement = judge(now, before, trust_moved=trust)
        by_path = {file.path: file for file in now}
        for path, state in judgement.known.items():
            assert state is before[path]
            assert same(by_path[path], state, strict=judgement.rule != "moved")

    @given(files, states, st.booleans())
    def test_every_file_is_either_known_or_hashed_in_order(
        self, now: list[Entry], before: dict[str, FileState], trust: bool
    ) -> None:
        judgement = judge(now, before, trust_moved=trust)
        assert [file for file in now if file.path not in judgement.known] == [*judgement.changed]

    @given(files, states, st.booleans())
    def test_moved_is_only_for_trees_in_which_nothing_stayed(
        self, now: list[Entry], before: dict[str, FileState], trust: bool
    ) -> None:
        judgement = judge(now, before, trust_moved=trust)
        stayed = [f for f in now if f.path in before and same(f, before[f.path], strict=True)]
        alike = [f for f in now if f.path in before and same(f, before[f.path], strict=False)]
        assert (judgement.rule == "moved") == bool(before and trust and alike and not stayed)
        assert (judgement.rule == "first") == (not before)

    @given(files, few, few)
    def test_a_copied_tree_is_known(self, now: list[Entry], ctime: int, inode: int) -> None:
        before = {file.path: state_of(file) for file in now}
        copied = [replace(f, ctime_ns=f.ctime_ns + 5 + ctime, inode=9 + inode) for f in now]
        expected = Judgement("moved" if now else "first", before, ())
        assert judge(copied, before, trust_moved=True) == expected

    def test_one_touched_file_alone_is_hashed(self) -> None:
        now = [entry("a", 1, 1, 1, 1), entry("b", 1, 1, 1, 2)]
        before = {file.path: state_of(file) for file in now}
        touched = replace(now[1], mtime_ns=2, ctime_ns=2)
        assert judge([now[0], touched], before, trust_moved=True) == Judgement(
            "strict", {"a": before["a"]}, (touched,)
        )


MODELS = SourceChoice("models", "model_dir", None)
LAST = LastRun("rp-1", {"models": {"near": "s1"}}, {"near": "id"})


def test_sources_are_compared_with_what_is_remembered() -> None:
    plan = plan_backup(
        plan="nightly",
        recovery_point="rp-2",
        sources=[MODELS, SourceChoice("configs", "configs", None)],
        repositories=["near", "far"],
        last=LAST,
    )
    assert (plan.plan, plan.recovery_point, plan.repositories) == (
        "nightly",
        "rp-2",
        ("near", "far"),
    )
    models, configs = plan.readings
    assert (models.parents, models.reason) == ({"near": "s1"}, "compared with rp-1")
    assert configs.parents == {}
    assert "compared" not in configs.reason


@pytest.mark.parametrize(
    ("kind", "declared", "compression"),
    [
        ("model_dir", None, "off"),
        ("hf_cache", None, "off"),
        ("configs", None, "auto"),
        ("postgres", None, "auto"),
        ("model_dir", "max", "max"),
        ("configs", "off", "off"),
    ],
)
def test_weights_are_not_compressed_unless_declared(
    kind: str, declared: str | None, compression: str
) -> None:
    plan = plan_backup(
        plan="nightly",
        recovery_point="rp-2",
        sources=[SourceChoice("source", kind, declared)],
        repositories=[],
        last=LastRun(),
    )
    assert plan.readings[0].compression == compression

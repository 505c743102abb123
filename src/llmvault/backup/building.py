"""What a capture may build on: an earlier recovery point, if all of it is in every repository."""

from __future__ import annotations

from collections.abc import Mapping

from llmvault.core.errors import VaultError
from llmvault.recovery_points.find import local_manifest
from llmvault.recovery_points.links import chain_of
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.ownership import TAG
from llmvault.restic.repo import Repository
from llmvault.sources.interface import Building, BuildsOnEarlier, Link


def find_base(
    memory: Memory,
    repositories: Mapping[str, Repository],
    plan: str,
    recovery_point: str,
    source: BuildsOnEarlier,
    name: str,
) -> Building:
    """Return what a source's capture may build on, or why on nothing.

    A repository in which a link is missing could not restore what builds on it, so every one of
    them is asked whether it still has all of them.

    Raises:
        VaultError: when the driver does not know what it kept.
    """

    def nothing(reason: str) -> Building:
        return Building(plan, recovery_point, (), reason)

    last = source.last_point(plan)
    if not last:
        return nothing("no earlier recovery point can be built on")
    manifest = local_manifest(memory, last)
    links = chain_of(manifest, name) if manifest else ()
    if not links:
        return nothing(f"this host has no manifest of {last} to build on")
    for repository in repositories.values():
        if why := _missing_in(repository, name, links):
            return nothing(why)
    return Building(plan, recovery_point, links)


def _missing_in(repository: Repository, source: str, links: tuple[Link, ...]) -> str:
    try:
        there = {one.id for one in repository.snapshots((f"{TAG}source={source}",))}
    except VaultError as error:
        return f"whether {repository.name} has what it would build on is not known: {error.cause}"
    for link in links:
        if link.snapshots.get(repository.name, "") not in there:
            return f"{repository.name} lacks the stream of {link.recovery_point}"
    return ""

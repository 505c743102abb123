"""The checks in words that need no knowledge of their machine names."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckWords:
    """A kind of check in plain words.

    Attributes:
        title: what is looked at.
        failure: what is wrong when it failed, as a clause.
        meaning: what holds when it is proven, as a sentence; empty when we cannot tell.
    """

    title: str
    failure: str
    meaning: str = ""


KNOWN = {
    "drill": CheckWords(
        "the drill itself",
        "the recovery point is damaged, so that the drill could not go on",
        "The drill ran to its end.",
    ),
    "recovery-point": CheckWords(
        "soundness of the recovery point",
        "the recovery point was already bad when it was taken",
        "The recovery point was taken completely and without reservation.",
    ),
    "newest-point": CheckWords(
        "soundness of the newest recovery point",
        "the newest recovery point cannot be read; an older one was drilled",
        "The newest recovery point can be read.",
    ),
    "streams": CheckWords(
        "ZFS streams that can be received",
        "a stream, or one that it builds on, cannot be received",
        "The streams were received into a scratch pool, and its snapshots are those captured.",
    ),
    "checkpoint": CheckWords(
        "signature of the ledger",
        "the ledger's head is not signed by this installation",
        "The ledger's head is signed by this installation's key.",
    ),
    "entries": CheckWords(
        "entries of the ledger",
        "an entry of the ledger was changed or is missing",
        "No entry of the ledger was changed since its head was signed.",
    ),
    "tiles": CheckWords(
        "hashes of the ledger",
        "the ledger's hashes do not fit each other",
        "The ledger's hashes lead to its signed head.",
    ),
    "pinned": CheckWords(
        "the ledger against a head kept elsewhere",
        "the ledger was cut back or rewritten",
        "The ledger continues what was kept elsewhere.",
    ),
    "witness": CheckWords(
        "what is kept of the ledger elsewhere",
        "a witness answered with something that is no head of this ledger",
        "The witness has the ledger's newest head.",
    ),
    "copied": CheckWords(
        "the ledger's copy in the repository",
        "the ledger was not copied into the repository",
        "The repository holds the ledger, the policies and the catalog.",
    ),
    "policies": CheckWords(
        "the policies that were in force",
        "the policies are not those that the ledger names",
        "The policies are those that the ledger names last.",
    ),
    "recovery-points": CheckWords(
        "what can be brought back",
        "recovery points cannot be read",
        "Every recovery point in the repository is listed again.",
    ),
    "free-space": CheckWords(
        "room on the scratch host",
        "the scratch host lacks room",
        "The scratch host has room for everything that is restored.",
    ),
    "leftovers": CheckWords(
        "leftovers of earlier drills",
        "leftovers of earlier drills could not be removed",
        "What interrupted drills had left on the scratch host was removed first.",
    ),
    "restore": CheckWords(
        "reading from the repository",
        "not everything could be read back from the repository",
        "Everything that the recovery point holds can be read back from the repository.",
    ),
    "digests": CheckWords(
        "file contents",
        "restored files are not byte for byte what was backed up",
        "Every file is byte for byte the one that was backed up (SHA-256).",
    ),
    "settings": CheckWords(
        "schema and index settings",
        "the restored store has another schema or other index settings",
        "Every table and index of the store is defined as it was recorded.",
    ),
    "tree": CheckWords(
        "file names, sizes and permissions",
        "restored names, sizes or permissions are not those that were backed up",
        "Every name is there with its size and permissions, and no other.",
    ),
    "structure": CheckWords(
        "structure of what was restored",
        "what was restored is damaged or incomplete inside",
        "What was restored is whole and well formed inside.",
    ),
    "content": CheckWords(
        "contents of configuration files",
        "configuration files are not those that were backed up",
        "Every configuration file is the one that was backed up.",
    ),
    "modes": CheckWords(
        "permissions of configuration files",
        "configuration files have other permissions",
        "Every configuration file has the permissions that it had.",
    ),
    "owners": CheckWords(
        "owners of configuration files",
        "configuration files have other owners",
        "Every configuration file has the owner that it had.",
    ),
    "prompts": CheckWords(
        "prompts and templates",
        "prompts or templates are of another version",
        "Prompts and templates are of the recorded version.",
    ),
    "archive": CheckWords(
        "database archive",
        "the database archive is damaged or incomplete",
        "The database's own tool can read the archive, and no part of it is missing.",
    ),
    "tables": CheckWords(
        "tables of the database",
        "the archive lacks tables of the database",
        "The archive holds the data of every recorded table.",
    ),
    "headers": CheckWords(
        "structure of the model files",
        "model files are damaged or incomplete inside",
        "Every model file is whole and well formed inside, and no part of a model is missing.",
    ),
    "inventory": CheckWords(
        "parts of the models",
        "models do not consist of the parts that were recorded",
        "The models consist of the same parts as when the backup was made.",
    ),
    "links": CheckWords(
        "links of the model cache",
        "links in the model cache do not lead to the recorded files",
        "Every name in the model cache leads to the file that it led to.",
    ),
    "refs": CheckWords(
        "versions in the model cache",
        "branches and tags in the model cache name other versions",
        "Branches and tags name the same versions of the models as recorded.",
    ),
    "models": CheckWords(
        "required models",
        "a required model is not there in its required version",
        "Every required model is there in its required version, without downloading anything.",
    ),
    "manifests": CheckWords(
        "manifests of the models",
        "models do not have the manifests that were recorded",
        "Every model has the very manifest, and so the version, that was recorded.",
    ),
    "blobs": CheckWords(
        "parts that the models share",
        "parts of models are absent or damaged",
        "Every part that a model needs is there, whole.",
    ),
    "secrets-listed": CheckWords(
        "list of the secrets that are needed",
        "the list of needed secrets is not the recorded one",
        "The list of secrets that the deployment needs is the recorded one; it holds no values.",
    ),
    "secrets": CheckWords(
        "secrets on this host",
        "secrets that the deployment needs are not on this host",
        "Every secret that the deployment needs is on this host, and is the one that it was.",
    ),
    "git-hashes": CheckWords(
        "fingerprints of small model files",
        "small model files are not what their publisher's fingerprint says",
        "Small model files match the fingerprints of their publisher.",
    ),
    "database": CheckWords(
        "integrity of the database file",
        "the database file is damaged",
        "The database finds its own file in order.",
    ),
    "collections": CheckWords(
        "collections of the vector store",
        "the vector store lacks collections or records",
        "The vector store has the recorded collections with the recorded number of records.",
    ),
    "indexes": CheckWords(
        "search indexes of the vector store",
        "search indexes of the vector store are damaged",
        "The saved search indexes are complete.",
    ),
    "samples": CheckWords(
        "samples from the data store",
        "sampled records are not what was recorded",
        "Records picked as samples are identical to what was recorded.",
    ),
    "records": CheckWords(
        "records of the data store",
        "the data store did not come back with its records",
        "The records are there, and are those that were recorded.",
    ),
    "schema": CheckWords(
        "definitions of collections",
        "a collection is not defined as it was",
        "Dimensions, distances and index settings are as recorded.",
    ),
    "snapshots": CheckWords(
        "filesystem snapshots of the backup",
        "a filesystem snapshot was not whole, or was left behind",
        "Every filesystem snapshot was whole while it was read, and is gone.",
    ),
    "rdb": CheckWords(
        "data file of Redis",
        "the data file of Redis is missing or damaged",
        "Redis loads its data file, and the file's own checksum is right.",
    ),
    "expiring-keys": CheckWords(
        "keys with a time to live",
        "there are more keys with a time to live than were recorded",
        "Keys with a time to live are there as far as they have not lapsed.",
    ),
    "store-snapshots": CheckWords(
        "snapshots that the store made",
        "a snapshot of the store is missing or damaged",
        "Every snapshot that the store made has the bytes that it stated.",
    ),
    "shards": CheckWords(
        "shards of the vector store",
        "the vector store lacks its shards, or they cannot be opened",
        "The engine opens the shards of the vector store.",
    ),
    "base-backup": CheckWords(
        "files of the base backup",
        "the base backup is damaged",
        "PostgreSQL's own verification finds every file and the WAL as they were.",
    ),
    "wal": CheckWords(
        "archived WAL",
        "the archived WAL is not there",
        "The WAL that was captured beside the base backup is there.",
    ),
    "window": CheckWords(
        "time between the captures",
        "the sources were captured too far apart",
        "The sources were captured within the time that the plan allows.",
    ),
    "quiesce": CheckWords(
        "writers held still",
        "the writers were not held still while the sources were captured",
        "Writers were held still while the sources were captured, and set free afterwards.",
    ),
    "golden": CheckWords(
        "answers to recorded questions",
        "the restored deployment does not answer as it did",
        "The restored deployment answers recorded questions as it did when they were recorded.",
    ),
    "goldens": CheckWords(
        "recording of questions and answers",
        "questions and answers could not be recorded",
        "Questions and their answers were recorded for later drills.",
    ),
    "engine": CheckWords(
        "start of the inference engine",
        "the restored model does not load or answer",
        "The inference engine starts on the restored model and answers.",
    ),
    "complete": CheckWords(
        "completeness of the recovery point",
        "the recovery point lacks sources of the plan",
        "The recovery point holds every source of the plan.",
    ),
    "embedding-dimension": CheckWords(
        "fit of embedding model and vector store",
        "the embedding model does not fit the vector store",
        "The model makes vectors of the length that the store holds.",
    ),
    "adapter-base": CheckWords(
        "base model of the adapter",
        "the base model of an adapter is missing",
        "The model that the adapter was trained on is in the recovery point too.",
    ),
    "clock": CheckWords(
        "clocks of the hosts",
        "the newest recovery point is dated in the future: a clock is wrong",
    ),
    "tamper": CheckWords(
        "attempts to destroy the backups",
        "the credential that makes backups can also destroy or weaken them",
        "Whoever holds the credential that makes backups cannot delete or weaken them.",
    ),
    "canary": CheckWords(
        "the object that attempts are made on",
        "no object could be written to try the attempts on",
        "An object was written and read with the credential that makes backups.",
    ),
    "canary-survives": CheckWords(
        "the object that attempts were made on",
        "the object that attempts were made on is gone or less protected",
        "After every attempt the object is there as before.",
    ),
    "lock": CheckWords(
        "lock of new objects",
        "new objects are not locked as the policy demands",
        "A new object is locked as the policy demands.",
    ),
    "copies": CheckWords(
        "three copies",
        "there are fewer than three copies, the live one included",
        "There are three copies, the live one included.",
    ),
    "media": CheckWords(
        "two kinds of media",
        "all copies are on one kind of media",
        "Copies are on two kinds of media.",
    ),
    "elsewhere": CheckWords(
        "one copy elsewhere",
        "no copy is at another site and with another account",
        "A copy is at another site and with another account.",
    ),
    "immutable": CheckWords(
        "one copy immutable or offline",
        "no copy is immutable or offline",
        "A copy is offline, or was attacked in vain.",
    ),
    "no-errors": CheckWords(
        "no errors when read back",
        "errors were found when copies were read back",
        "Every copy was read back within the declared time, without errors.",
    ),
    "as-declared": CheckWords(
        "settings of the object store",
        "the object store is not set up as the policy demands",
        "The object store is set up as the policy demands.",
    ),
    "rto": CheckWords(
        "recovery time",
        "recovery took longer than the objective allows",
        "The recovery took no longer than the objective allows.",
    ),
    "rpo": CheckWords(
        "possible data loss",
        "the newest recovery point is older than the objective allows",
        "The newest recovery point is no older than the objective allows.",
    ),
}


def check_words(name: str) -> CheckWords:
    """Return the words for a check's name, e.g. ``golden:greetings``; else the name as it is."""
    base, *parameter = re.split("[@:]", name, maxsplit=1)
    known = KNOWN.get(base)
    if known is None:
        return CheckWords(name.replace("-", " ").replace("_", " "), f"the check {name} failed")
    suffix = f" ({parameter[0]})" if parameter else ""
    return CheckWords(known.title + suffix, known.failure, known.meaning)

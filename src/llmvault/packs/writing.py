"""Writing packs: sealed blobs one after the other, a header, and the digest as the name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from llmvault.keys.containers import Sealer
from llmvault.packs.files import RepositoryFiles
from llmvault.packs.format import Blob, Pack, header_length, pack_header

BLOB_SIZE = 8 << 20  # the largest that restic cuts


class PackWriter:
    """Writes blobs of one kind into packs, for one thread.

    Args:
        largest: bytes of a blob, at most.
        pack_size: bytes after which a pack is complete.
        on_pack: hears of each pack once it is durable.
    """

    def __init__(
        self,
        files: RepositoryFiles,
        kind: str,
        *,
        largest: int,
        pack_size: int,
        on_pack: Callable[[Pack], None],
    ) -> None:
        self._files = files
        self._kind = kind
        self._pack_size = pack_size
        self._on_pack = on_pack
        self._sealer = Sealer(files.key, largest)
        self._stream: IO[bytes] | None = None
        self._path = Path()
        self._begin()

    def _begin(self) -> None:
        self._hasher = hashlib.sha256()
        self._position = 0
        self._blobs: list[Blob] = []

    def add(self, identity: bytes, plain: bytes | memoryview) -> None:
        """Write a blob.

        Raises:
            OSError: when it cannot be written.
            IntegrityError: when it could not be sealed.
        """
        if self._stream is None:
            self._path = self._files.temporary("data")
            self._stream = self._path.open("xb", buffering=0)
        length = self._put(self._sealer.seal(plain))
        self._blobs.append(Blob(identity, self._kind, self._position - length, length))
        if self._position >= self._pack_size:
            self.finish()

    def finish(self) -> None:
        """Complete the pack that is being written, if there is one."""
        if self._stream is None:
            return
        plain = pack_header(self._blobs)
        header = bytes(Sealer(self._files.key, len(plain)).seal(plain))
        self._put(header)
        self._put(header_length(len(header)))
        name = self._hasher.hexdigest()
        self._files.put(self._path, self._files.directory / "data" / name[:2] / name)
        self._stream.close()
        self._stream = None
        pack = Pack(name, tuple(self._blobs))
        self._begin()
        self._on_pack(pack)

    def abandon(self) -> None:
        """Remove what is incomplete."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._path.unlink(missing_ok=True)

    def _put(self, data: bytes | memoryview) -> int:
        assert self._stream is not None  # noqa: S101
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]
        self._position += len(data)
        return len(data)

"""Upload a checkpoint through the page, in parts, into a private folder that is removed with the session.

The server creates the folder for each kernel and removes it when the kernel has ended, however it ended; see
`prunescope.serving.kernels`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import traitlets

from prunescope.core.errors import RequestError
from prunescope.explorer.bridge import Bridge

_HERE = Path(__file__).parent
_NAME_LENGTH = 120


class Upload(Bridge):
    """A button that uploads a checkpoint file; the limit is enforced here, not in the page.

    Args:
        folder: Where to put uploads; an existing, private folder.
        limit: Most bytes that all uploads of the session may take together.
        endings: Accepted file name endings.
        take: Called with the path of an uploaded file; returns why it cannot be explored, or None.
        lock: Held while a message of the page is handled.

    Attributes:
        promise: What the page says before anything is uploaded.
        suffixes: Accepted file name endings.
        limit: Most bytes that all uploads of the session may take together.
    """

    # The text, not the path: a path is watched for changes, by a function that keeps every widget alive.
    _esm = (_HERE / "upload.js").read_text("utf-8")
    promise = traitlets.Unicode("").tag(sync=True)
    suffixes = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        folder: Path,
        limit: int,
        endings: Sequence[str],
        take: Callable[[Path], RequestError | None],
        lock: AbstractContextManager[object],
    ) -> None:
        most = f"At most {_megabytes(limit)}, kept until you leave this page; no code in a file is run."
        super().__init__(promise=most, suffixes=list(endings))
        self._folder, self.limit, self._endings = folder, limit, tuple(endings)
        self._take, self._lock = take, lock
        self._used = self._count = self._size = 0
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self.on_msg(self._receive)

    def _receive(self, _widget: object, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        with self._lock:
            try:
                self._act(message, buffers)
            except RequestError as problem:
                self._drop()
                self.send({"type": "end", "text": str(problem), "problem": True})
            except OSError as error:
                self._drop()
                text = f"`upload` could not be stored: {error.strerror}."
                self.send({"type": "end", "text": text, "problem": True})

    def _act(self, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        kind = message.get("type") if isinstance(message, Mapping) else None
        if kind == "begin":
            self._drop()
            self._begin(message.get("name"), message.get("size"))
        elif kind == "part" and self._file is not None and len(buffers) == 1:
            self._add(self._file, message.get("place"), bytes(buffers[0]))
        elif kind == "cancel":
            self._drop()

    def _begin(self, name: object, size: object) -> None:
        if not isinstance(name, str) or not name.endswith(self._endings):
            raise RequestError(
                "upload", f"`upload` must end in {', '.join(self._endings)}, got {str(name)[:80]!r}."
            )
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise RequestError("upload", f"`upload` must not be empty, and {name[:80]} is.")
        if size > self.limit - self._used:
            before = f", {_megabytes(self._used)} of which earlier uploads use" if self._used else ""
            most, this = _megabytes(self.limit), _megabytes(size)
            instead = "open it with `prunescope FILE`, or in a notebook with `explore(FILE)`"
            sentence = f"`upload` may be at most {most}{before}, and {name[:80]} has {this}: {instead}."
            raise RequestError("upload", sentence)
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(mode=0o700)
        self._path, self._size = folder / _safe(name), size
        self._file = self._path.open("xb")
        self.send({"type": "next", "place": 0})

    def _add(self, file: BinaryIO, place: object, part: bytes) -> None:
        if place != file.tell() or not part or file.tell() + len(part) > self._size:
            raise RequestError("upload", "`upload` arrived out of order: try again.")
        file.write(part)
        if file.tell() < self._size:
            self.send({"type": "next", "place": file.tell()})
            return
        self._finish(file)

    def _finish(self, file: BinaryIO) -> None:
        file.close()
        path, self._file = self._path, None
        assert path is not None
        problem = self._take(path)
        if problem is not None:
            raise problem
        self._used += self._size
        self._path = None
        self.send(
            {"type": "end", "text": f"{path.name} is uploaded and listed among the models.", "problem": False}
        )

    def _drop(self) -> None:
        """Drop an unfinished upload, and remove what was stored of it."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            shutil.rmtree(self._path.parent, ignore_errors=True)
        self._file = self._path = None

    def clear(self) -> None:
        """Remove all uploads."""
        self._drop()
        for number in range(1, self._count + 1):
            shutil.rmtree(self._folder / str(number), ignore_errors=True)


def _safe(name: str) -> str:
    """Return a safe file name, as close to the given one as possible.

    Example:
        >>> _safe("../../<b>model.pt")
        '_b_model.pt'
    """
    return re.sub(r"[^\w.-]+", "_", name.replace("\\", "/").rpartition("/")[2])[-_NAME_LENGTH:].lstrip(".")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.4g} MB"

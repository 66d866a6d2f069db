"""Temporary folders that do not outlive their process, even one that was killed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["TemporaryFolder"]

_NEW = "urial-new-"
_IN_USE = "urial-in-use-"
_LOCKS = find_spec("fcntl") is not None  # Windows has no locks on folders


class TemporaryFolder:
    """A folder that only this user can open, until it is removed.

    It is locked while its process lives. Making the next one in the same place removes those that
    nobody holds any more.

    Attributes:
        path: The folder.
    """

    def __init__(self, parent: Path) -> None:
        """Make the folder, and remove abandoned ones.

        Args:
            parent: The folder in which to make it.
        """
        _remove_abandoned(parent)
        new = Path(mkdtemp(prefix=_NEW, dir=parent))
        self._lock = _locked(new)
        # It gets the name by which others find it only now that it is locked.
        self.path = new.rename(parent / new.name.replace(_NEW, _IN_USE, 1))

    def remove(self) -> None:
        """Delete the folder, if it is still in its place, and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_IN_USE}*"):
        with suppress(OSError):  # another user's, or another process was faster
            if (lock := _locked(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """Return a file descriptor that holds the folder's lock; None if another process holds it."""
    if not _LOCKS:
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor

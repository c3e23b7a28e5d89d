"""As whom a program runs that refuses to be root."""

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from intentmesh.embedded.errors import UnsuitableAccountError
from intentmesh.embedded.launch import permitted_search_capability

UserId = NewType("UserId", int)
GroupId = NewType("GroupId", int)

# Accounts nobody logs in as and that every Debian-like machine has at least one of. We never create accounts.
_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account a child process becomes."""

    uid: UserId
    gid: GroupId
    # Folders on the way to its files are closed to it, so the child keeps the one capability to walk through them.
    keeps_search: bool

    def take(self, *paths: Path) -> None:
        """Make files or folders, but not what the folders hold, belong to this account."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def may_walk_to(path: Path, uid: UserId, gid: GroupId) -> bool:
    """Whether mode bits alone let (uid, gid) reach `path` through all of its parents."""
    for folder in path.resolve().parents:
        state = folder.stat()
        if state.st_uid == uid:
            needed = stat.S_IXUSR
        elif state.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not state.st_mode & needed:
            return False
    return True


def unprivileged_account(data: Path, programs: Iterable[Path]) -> Account | None:
    """Who runs `programs` on the folder `data`: None when we are not root, and so can do it ourselves.

    An existing `data` folder decides by its owner, so that a second start works whatever accounts came in between.
    Raises UnsuitableAccountError when there is no account or it could not reach its files.
    """
    if os.geteuid() != 0:
        return None
    entry = _owner_of(data) or next(filter(None, map(_entry, _CANDIDATES)), None)
    if entry is None:
        raise UnsuitableAccountError(
            f"PostgreSQL refuses to run as root, and none of {', '.join(_CANDIDATES)} exists: run as another user"
        )
    uid, gid = UserId(entry.pw_uid), GroupId(entry.pw_gid)
    closed = [path for path in (data, *programs) if not may_walk_to(path, uid, gid)]
    if closed and permitted_search_capability() is None:
        raise UnsuitableAccountError(
            f"PostgreSQL refuses to run as root, and the account {entry.pw_name} cannot reach {closed[0]}: "
            "use a folder whose parents are open to it (chmod o+x), or run as another user"
        )
    return Account(uid, gid, keeps_search=bool(closed))


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _owner_of(folder: Path) -> pwd.struct_passwd | None:
    if not folder.exists() or folder.stat().st_uid == 0:
        return None
    try:
        return pwd.getpwuid(folder.stat().st_uid)
    except KeyError:
        return None

"""Which account the embedded PostgreSQL runs under: ours, or a number of its own under root.

PostgreSQL refuses to run as root. Under root the server gets a user number that nobody else has
(no account is created, a number needs none) and that owns `<data_dir>/postgres` and nothing more.
It needs no capability and no permission on the folders above: it is started standing in its folder
and names it `/proc/self/cwd`, which the kernel resolves without searching the way there. The
alternatives were worse: CAP_DAC_READ_SEARCH kept over the change of user would let SQL read every
file of the machine (and is missing in ordinary containers), a mount namespace needs CAP_SYS_ADMIN,
a user namespace that renames root keeps root's files writable.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from chargera.domain.errors import Refused

OWN_NUMBERS = range(60578, 61184)
"""User numbers that Linux distributions and systemd leave unused (systemd, UIDS-GIDS)."""

NEEDED_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""What root needs to hand the folder over and to supervise the server; bits of CapEff."""

_REMEDY = "run as an ordinary user, or set CHARGERA_DATABASE_URL to a PostgreSQL of your own"


class Account(NamedTuple):
    """A user and a group number."""

    uid: int
    gid: int


def server_account(folder: Path) -> Account | None:
    """Return the account for the server in `folder`, or None to stay who we are.

    `folder` may not exist yet. Under root its owner decides, then the owner of the folder above,
    so that a data folder can change hands; only where both are root's a number of our own.

    Raises: Refused, when root lacks a capability or no number is usable.
    """
    if os.geteuid() != 0:
        return None
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    if missing:
        raise Refused(
            "PostgreSQL does not run as root, and this root may not change to another user: "
            f"CAP_{', CAP_'.join(missing)} missing",
            remedy=_REMEDY,
        )
    for place in (folder, folder.parent):
        if place.exists() and (owner := place.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    maps = [Path(f"/proc/self/{kind}_map").read_text() for kind in ("uid", "gid")]
    number = unused_number(
        str(folder.resolve()),
        taken={entry.pw_uid for entry in pwd.getpwall()},
        maps=maps,
    )
    return Account(number, number)


def named_account(account: Account) -> Account:
    """Return `account` if it has a name, else another unprivileged account that has one.

    `initdb` alone asks for a name (it proposes it as superuser), the server never does.

    Raises: Refused, when the machine knows no name but root's.
    """
    entries = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    for entry in sorted(entries, key=lambda e: (e.pw_uid != account.uid, e.pw_name != "nobody")):
        return Account(entry.pw_uid, entry.pw_gid)
    raise Refused("no account but root has a name here, and initdb needs one", remedy=_REMEDY)


def missing_capabilities(status: str) -> list[str]:
    """Return which of `NEEDED_CAPABILITIES` are missing in the text of `/proc/PID/status`."""
    field = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    effective = int(field.split()[1], 16)
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not effective >> bit & 1]


def unused_number(seed: str, *, taken: set[int], maps: Iterable[str]) -> int:
    """Return a number of `OWN_NUMBERS`, the same for the same `seed` while it is not `taken`.

    `maps` are the texts of `/proc/self/uid_map` and `gid_map`: in a user namespace a number
    outside them does not exist.

    Raises: Refused, when every number is taken or not mapped.
    """
    texts = tuple(maps)
    start = crc32(seed.encode())
    for step in range(len(OWN_NUMBERS)):
        number = OWN_NUMBERS[(start + step) % len(OWN_NUMBERS)]
        if number not in taken and all(is_mapped(text, number) for text in texts):
            return number
    raise Refused(
        f"no user number between {OWN_NUMBERS[0]} and {OWN_NUMBERS[-1]} is free in this "
        "user namespace, and PostgreSQL does not run as root",
        remedy=_REMEDY,
    )


def is_mapped(text: str, number: int) -> bool:
    """Say whether `number` lies in a line `inside outside length` of a user namespace's map."""
    lines = (tuple(map(int, line.split())) for line in text.splitlines())
    return any(inside <= number < inside + length for inside, _, length in lines)

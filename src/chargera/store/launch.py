"""Become the right account, die with the parent, then turn into a PostgreSQL program.

Run as a script in a fresh interpreter between the supervisor and `postgres` or `initdb`, because
the order of these steps matters and none of them is safe between `fork` and `exec` of a process
that has threads:

1. Enter the working folder while still privileged: the account that follows may be unable to
   search the folders above it, and needs not, once it stands in it.
2. Change groups, then user. All capabilities are gone after that.
3. Ask the kernel for a signal when the parent ends. Before step 2 this would be in vain: a change
   of credentials clears it (prctl(2), PR_SET_PDEATHSIG).
4. End if the parent ended before step 3.

Standard library only: it runs isolated, without the packages of the environment.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
UNCHANGED = (-1, -1)
"""User and group number that mean: stay who you are."""


def command(
    program: Path,
    arguments: Sequence[str],
    *,
    identity: tuple[int, int] | None,
    folder_fd: int,
    parent_death: signal.Signals,
) -> list[str]:
    """Return the command line that runs `program` inside `folder_fd`.

    `identity` is the user and group number to become; None changes nothing. `folder_fd` must be
    inherited. `parent_death` is sent to the program when the thread that
    starts it ends, so that thread has to live as long as the program should.
    """
    facts = (*(identity or UNCHANGED), folder_fd, int(parent_death), os.getpid())
    interpreter = [sys.executable, "-I", "-S", __file__]
    return [*interpreter, *map(str, facts), str(program), *arguments]


def main(argv: Sequence[str]) -> None:
    """Take the five facts of `command`, then the program with its arguments; never return."""
    uid, gid, folder_fd, parent_death, parent = map(int, argv[:5])
    libc = ctypes.CDLL(None, use_errno=True)
    os.fchdir(folder_fd)
    os.close(folder_fd)
    if (uid, gid) != UNCHANGED:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, PR_SET_PDEATHSIG, parent_death)
    if os.getppid() != parent:
        sys.exit("the process that started PostgreSQL has ended")
    os.umask(0o077)
    # The interpreter ignores these two, and what is ignored stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(argv[5], list(argv[5:]))  # noqa: S606 - no shell is wanted here
    except OSError as error:
        sys.exit(f"cannot run {argv[5]}: {error.strerror}")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])

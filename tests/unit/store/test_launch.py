"""Between fork and exec: the right folder, account, death signal and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chargera.store import launch

SHELL = Path("/bin/sh")
REPORT = "pwd -P; umask; id -u; grep -E '^(NoNewPrivs|CapEff|SigIgn|Groups)' /proc/self/status"


def run(
    folder: Path, *arguments: str, identity: tuple[int, int] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a shell in `folder`; the first of `arguments` is its script."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    command = launch.command(
        SHELL,
        ("-c", *arguments),
        identity=identity,
        folder_fd=descriptor,
        parent_death=signal.SIGKILL,
    )
    try:
        return subprocess.run(
            command, pass_fds=(descriptor,), capture_output=True, text=True, check=False
        )
    finally:
        os.close(descriptor)


def test_program__stands_in_the_folder_and_ignores_no_signal(tmp_path: Path) -> None:
    report = run(tmp_path, REPORT).stdout.splitlines()
    assert report[:3] == [str(tmp_path), "0077", str(os.geteuid())]
    facts = dict(line.split(":\t") for line in report[3:])
    assert facts["NoNewPrivs"] == "1"
    ignored = int(facts["SigIgn"], 16)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored >> (number - 1) & 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_program__is_nobody_in_a_folder_that_nobody_could_reach(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "own"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    os.chown(folder, 60600, 60600)
    report = run(folder, f"cd -P /proc/self/cwd && touch made && {REPORT}", identity=(60600, 60600))
    assert (folder / "made").stat().st_uid == 60600, report.stderr
    facts = dict(line.split(":\t") for line in report.stdout.splitlines()[-4:])
    assert facts["CapEff"] == "0" * 16
    assert facts["Groups"].strip() == ""
    refused = run(folder, "cat ../../secret; ls /root/", identity=(60600, 60600))
    assert refused.returncode != 0


def test_program__does_not_start_when_the_parent_is_gone(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    command = launch.command(
        SHELL,
        ("-c", "echo started"),
        identity=None,
        folder_fd=descriptor,
        parent_death=signal.SIGKILL,
    )
    place = command.index(str(os.getpid()))
    command[place] = str(os.getppid())  # as if we had ended and another process had adopted it
    done = subprocess.run(
        command, pass_fds=(descriptor,), capture_output=True, text=True, check=False
    )
    os.close(descriptor)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "has ended" in done.stderr


def test_program__gets_the_signal_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal, subprocess, sys; from pathlib import Path\n"
        "from chargera.store import launch\n"
        f"folder = os.open({str(tmp_path)!r}, os.O_RDONLY)\n"
        "command = launch.command(Path('/bin/sh'), ('-c', 'echo $$; exec sleep 60'),\n"
        "    identity=None, folder_fd=folder, parent_death=signal.SIGKILL)\n"
        "subprocess.run(command, pass_fds=(folder,))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        for _ in range(500):
            if _is_over(pid):
                return
            time.sleep(0.01)
    pytest.fail("it lives on")


def _is_over(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"

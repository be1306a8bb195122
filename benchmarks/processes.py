"""What a server and all its processes cost, as the kernel counts it (Linux, proc(5))."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """CPU time, user and system, of a tree of processes since each of them began."""

    server: float
    """The process that was asked for and whatever it started that is no database."""
    database: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.server + self.database

    def since(self, earlier: "CpuSeconds") -> "CpuSeconds":
        """Return what was spent in between."""
        return CpuSeconds(self.server - earlier.server, self.database - earlier.database)


def cpu_of_tree(pid: int) -> CpuSeconds:
    """Return what a process and its descendants have spent.

    Children that have ended stand in the account of the parent that waited for them, so that
    the difference of two looks misses nothing.
    """
    server = database = 0.0
    for fields in _tree(pid):
        # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5)
        spent = sum(map(int, fields[13:17])) / TICKS_A_SECOND
        if fields[1] == DATABASE:
            database += spent
        else:
            server += spent
    return CpuSeconds(server, database)


def database_cpu_s(pid: int) -> float:
    """Return what the database's processes below a process have spent, to the nanosecond.

    For short measurements: `cpu_of_tree` cuts what each of its processes spent to full ticks.
    """
    return sum(
        int(Path(f"/proc/{fields[0]}/schedstat").read_text().split()[0]) / 1e9
        for fields in _tree(pid)
        if fields[1] == DATABASE
    )


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def _tree(pid: int) -> list[list[str]]:
    """Return the fields of /proc/PID/stat of a process and all its descendants."""
    children: dict[int, list[list[str]]] = {}
    root: list[list[str]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[3]), []).append(fields)
            if int(fields[0]) == pid:
                root = [fields]
    found, waiting = [], root
    while waiting:
        member = waiting.pop()
        found.append(member)
        waiting.extend(children.get(int(member[0]), []))
    return found


def _stat(entry: Path) -> list[str] | None:
    """Return the fields of one process; None if it has gone."""
    try:
        text = (entry / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    number, _, rest = text.partition(" (")
    name, _, fields = rest.rpartition(") ")
    return [number, name, *fields.split()]

"""What the figures of a benchmark were measured on."""

import os
import platform
from pathlib import Path


def machine() -> dict[str, object]:
    """Return interpreter, system and processor."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()

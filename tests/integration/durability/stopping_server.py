"""The real server, which stands still at a step of its keeper that a test has named.

It stops itself (SIGSTOP) in the log line that tells of the step, so that nothing comes after it,
and is killed as it stands. The test writes the beginning of that line into `D/stop-at`, with the
seconds that the server may go on after it.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from chargera import settings, telemetry
from chargera.bootstrap import ServeOptions, running

STOP_FILE = "stop-at"


class Stopping(logging.Handler):
    """Stops the process where it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / STOP_FILE

    def emit(self, record: logging.LogRecord) -> None:
        if not self._path.exists():
            return
        step, delay_s = json.loads(self._path.read_text())
        if not record.getMessage().startswith(step):
            return
        self._path.unlink()
        if delay_s:
            threading.Timer(delay_s, _stop).start()
        else:
            _stop()


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


async def _serve(folder: Path) -> None:
    options = ServeOptions(folder, 0, 0, manual_clock=True)
    async with running(options, settings.load(folder, os.environ)) as server:
        print(json.dumps(server.ready_line), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    telemetry.configure_logging()
    logging.getLogger().addHandler(Stopping(Path(sys.argv[1])))
    asyncio.run(_serve(Path(sys.argv[1])))

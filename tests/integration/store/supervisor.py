"""A process that supervises one embedded server: `supervisor.py DATA_DIR [OPTIONS as JSON]`.

Prints one JSON line when the server is up (or why it is not, and ends with 1), then one for each
event; stops the server on SIGTERM.
"""

import json
import signal
import sys
from pathlib import Path

from chargera.domain.errors import ChargEraError
from chargera.store.postgres import EmbeddedPostgres, ServerEvent


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def report(event: ServerEvent) -> None:
    say(event=event.kind.value, detail=event.detail)


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
server = EmbeddedPostgres(Path(sys.argv[1]), on_event=report, **options)
try:
    url = server.start()
except ChargEraError as error:
    say(error=error.code, message=error.message, remedy=error.remedy)
    sys.exit(1)
say(url=url, pid=server.pid)
signal.sigwait({signal.SIGTERM})
server.stop()
say(stopped=True)

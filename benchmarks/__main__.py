"""Run benchmarks: `python -m benchmarks [NAME [OPTION ...]]`; without a name all of them."""

import importlib
import sys

BENCHMARKS = ("ocpp", "eventlog", "ledger", "outage")


def main(arguments: list[str]) -> int:
    """Return 0 if every bar was met, 1 if one was missed, 2 for a name that is not known."""
    names, options = (arguments[:1], arguments[1:]) if arguments else (BENCHMARKS, [])
    for name in names:
        if name not in BENCHMARKS:
            print(f"no benchmark {name}: choose {' or '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
    codes = [importlib.import_module(f"benchmarks.{name}").main(options) for name in names]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""`chargera audit`: the promises of a whole network, judged from its public faces alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera.cli.anchor_sources import whole_topics
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note, progress, show
from chargera.domain.errors import ChargEraError, Unreadable

if TYPE_CHECKING:
    from chargera.proofs.audit import ChainFacts, PromiseVerdict


def audit(
    log: Annotated[str, typer.Option("--log", help="Where the log is served: http://HOST/log.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="deployment.json from a place that you trust.")
    ],
    anchors: Annotated[
        list[str] | None,
        typer.Option(
            "--anchors", help="FILE of all topic messages, or mirror:URL; several are compared."
        ),
    ] = None,
    rpc: Annotated[
        str | None, typer.Option("--rpc", help="Address of the chain, or mirror:URL.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Judge the promises P1 to P7 of a network, each with the first entry that breaks it.

    Exit 0: all are kept, 1: one is broken, 2: unreadable input, 3: one could not be judged.
    """
    from chargera.cli.log_sources import served_log
    from chargera.cli.verify import read_trust
    from chargera.proofs.audit import audit as judge
    from chargera.proofs.audit import exit_code

    trusted = read_trust(trust)
    source = served_log(log.rstrip("/").removesuffix("/log"))
    mirrors = [whole_topics(trusted, text) for text in anchors or ()]
    facts = None if rpc is None else _facts(rpc, trust)
    with progress("entries") as report:
        verdicts = judge(source, trusted, mirrors, facts, report)
    document = {"promises": [verdict.as_dict() for verdict in verdicts]}
    show(document, as_json, promises_text(verdicts))
    raise typer.Exit(exit_code(verdicts))


def promises_text(verdicts: "Sequence[PromiseVerdict]") -> str:
    """Render the verdicts for people."""
    marks = {"ok": "kept   ", "failed": "BROKEN ", "pending": "unknown"}
    return "\n".join(f"{v.promise.value}  {marks[v.status.value]}  {v.detail}" for v in verdicts)


def _facts(rpc: str, trust: Path) -> "ChainFacts | None":
    """Ask the chain; one that cannot be asked leaves promises unjudged."""
    from chargera.cli.chain_access import on_chain
    from chargera.ledger.chain_audit import audit_facts

    try:
        return on_chain(rpc, trust, audit_facts)
    except Unreadable:
        raise
    except ChargEraError as error:
        note(f"the chain at {rpc} could not be asked: {error.message}")
        return None

"""`chargera audit`: the promises of a whole network, judged from its public faces alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note, progress, show
from chargera.domain.errors import ChargEraError, Unreadable

if TYPE_CHECKING:
    from chargera.ledger.mirror_client import MirrorClient
    from chargera.proofs.anchor import TopicMessage
    from chargera.proofs.audit import ChainFacts, Mirror, PromiseVerdict
    from chargera.proofs.trust import Trust

MIRROR = "mirror:"
MESSAGES_MAX = 1_000_000
"""Of one topic: an anchor a minute for two years."""


def audit(
    log: Annotated[str, typer.Option("--log", help="Where the log is served: http://HOST/log.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="deployment.json from a place that you trust.")
    ],
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchors", help="mirror:URL of the topic; several are compared."),
    ] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", help="Address of the chain.")] = None,
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
    mirrors = [_mirror(text, trusted) for text in anchors or ()]
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


def _mirror(text: str, trust: "Trust") -> "Mirror":
    """Ask a mirror for all messages of the trusted topics."""
    import httpx2

    from chargera.ledger.mirror_client import MirrorClient
    from chargera.proofs.audit import Mirror

    if not text.startswith(MIRROR):
        raise Unreadable(
            f"'{text}' is no mirror", field="anchors", remedy="write it as mirror:http://HOST"
        )
    url = text.removeprefix(MIRROR)
    topics = {topic.topic_id for topic in trust.topics or ()}
    with httpx2.Client(trust_env=False) as client:
        mirror = MirrorClient(url, client)
        try:
            found = [message for topic in sorted(topics) for message in _all(mirror, topic)]
        except ChargEraError as error:
            note(f"the mirror {url} could not be asked: {error.message}")
            return Mirror(url, None)
    return Mirror(url, found)


def _all(mirror: "MirrorClient", topic_id: str) -> "list[TopicMessage]":
    found: list[TopicMessage] = []
    while page := mirror.messages(topic_id, len(found) + 1):
        found += page
        if len(found) > MESSAGES_MAX:
            raise Unreadable(f"topic {topic_id} has more than {MESSAGES_MAX} messages")
    return found

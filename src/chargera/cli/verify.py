"""`chargera verify` and `chargera verify-meter`: what a stranger checks, without any server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargera.cli.anchor_sources import DOCUMENT_BYTES_MAX, MIRROR, answer_about, read_json
from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import show
from chargera.domain.errors import ChargEraError, Unreadable

if TYPE_CHECKING:
    from chargera.proofs.kept_head import LogSource
    from chargera.proofs.mirrors import MirrorAnswer
    from chargera.proofs.receipt_settlement import ChainAnswer
    from chargera.proofs.trust import Trust


def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    trust: Annotated[
        Path | None, typer.Option("--trust", help="deployment.json from a place that you trust.")
    ] = None,
    log_key: Annotated[
        str | None, typer.Option("--log-key", help="Verifier key of the log alone.")
    ] = None,
    old_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--old-checkpoint",
            help="A head that you kept. If it is of another size, its log is read from the folder"
            " that it lies in, the servers of --anchors, or the server of --data-dir.",
        ),
    ] = None,
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchors", help="FILE of topic messages, or mirror:URL; may be repeated."),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", help="Address of the chain that settles, or mirror:URL, to ask it too."
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check a receipt, every byte of it.

    Exit 0: every step that was asked is ok, 1: invalid, 2: unreadable, 3: could not be
    determined (no trusted key given, not anchored yet, a source lags or is silent).
    """
    from chargera.proofs.receipt import verify_receipt

    if trust is not None and log_key is not None:
        raise Unreadable(
            "--trust and --log-key exclude each other", field="log_key", remedy="give one of them"
        )
    data = read_bytes(file, DOCUMENT_BYTES_MAX + 1)
    trusted = _trust(trust, log_key)
    verdict = verify_receipt(
        data,
        trusted,
        old_checkpoint=None if old_checkpoint is None else _checkpoint(old_checkpoint),
        mirrors=None if anchors is None else _mirrors(anchors, data),
        logs=[]
        if old_checkpoint is None
        else [*_logs(old_checkpoint, anchors or ()), *_own_log(data_dir, trusted)],
        chain=None if rpc is None else _chain_answer(rpc, trust, data),
    )
    document = verdict.as_dict()
    show(document, as_json, steps_text(document))
    raise typer.Exit(verdict.exit_code)


def verify_meter(
    file: Annotated[Path, typer.Argument(help="One OCMF string, or begin and end on two lines.")],
    key: Annotated[Path, typer.Option("--key", help="The meter's public key.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check signed meter values; exits as `verify`, 3 for a curve that is not supported."""
    from chargera.proofs.meter_checks import verify_meter_file

    document, exit_code = verify_meter_file(
        read_bytes(file, DOCUMENT_BYTES_MAX), read_bytes(key, DOCUMENT_BYTES_MAX)
    )
    show(document, as_json, steps_text(document))
    raise typer.Exit(exit_code)


def steps_text(document: dict[str, Any]) -> str:
    """Render the steps of a verdict for people."""
    marks = {"ok": "ok     ", "failed": "FAILED ", "pending": "pending", "not_asked": "-      "}
    lines = [f"{marks[s['status']]}  {s['step']:<18} {s['detail']}" for s in document["steps"]]
    pending = any(step["status"] == "pending" for step in document["steps"])
    if document["failed_step"]:
        result = f"INVALID: {document['failed_step']}"
    elif document["valid"]:
        result = "valid"
    else:
        result = "not determined" if pending else "not valid"
    return "\n".join([*lines, result])


def read_trust(path: Path) -> "Trust":
    """Read a trust file. Raises Unreadable."""
    from chargera.proofs.trust import parse_trust

    return parse_trust(read_json(path))


def _trust(path: Path | None, log_key: str | None) -> "Trust | None":
    from chargera.proofs.trust import trust_of_key

    if log_key is not None:
        return trust_of_key(log_key)
    return None if path is None else read_trust(path)


def _checkpoint(path: Path) -> bytes:
    """Return a kept head. Raises Unreadable for a file that is none."""
    from chargera.proofs.checkpoint import parse_checkpoint

    data = read_bytes(path)
    try:
        parse_checkpoint(data)
    except ChargEraError as error:
        raise Unreadable(
            f"{path} is no checkpoint: {error.message}",
            field="old_checkpoint",
            remedy="give a file that was saved from /log/checkpoint",
        ) from error
    return data


def _logs(kept: Path, sources: Sequence[str]) -> "list[LogSource]":
    """Return where the log may be read: the folder that the kept head lies in, then servers."""
    from chargera.cli.log_sources import exported_log, served_log

    exported = exported_log(kept.parent)
    served = [served_log(s.removeprefix(MIRROR)) for s in sources if s.startswith(MIRROR)]
    return served if exported is None else [exported, *served]


def _own_log(data_dir: Path, trust: "Trust | None") -> "list[LogSource]":
    """Return the log of the server that runs here, if one does and it is the trusted one."""
    from chargera.cli.client import Server
    from chargera.cli.log_sources import served_log
    from chargera.proofs.checkpoint import open_checkpoint

    try:
        log = served_log(Server(data_dir).url)
        if trust is not None:
            open_checkpoint(log.read("checkpoint"), trust.origin, trust.log_keys)
    except ChargEraError:
        return []
    return [log]


def _mirrors(sources: Sequence[str], receipt: bytes) -> "list[MirrorAnswer]":
    """Ask the sources about the receipt's anchor, if it has one."""
    from chargera.proofs.mirrors import MirrorAnswer
    from chargera.proofs.receipt import parse_receipt

    try:
        anchor = parse_receipt(receipt).anchor
    except (ChargEraError, RecursionError):
        anchor = None  # `verify_receipt` says what is wrong with it
    if anchor is None:
        return [MirrorAnswer(source.removeprefix(MIRROR), ()) for source in sources]
    return [answer_about(anchor, source) for source in sources]


def _chain_answer(rpc: str, trust: Path | None, receipt: bytes) -> "ChainAnswer | None":
    """Ask the chain about the receipt's settlement; None where it holds none to ask about."""
    from chargera.cli.chain_access import on_chain
    from chargera.ledger.chain_reads import read_settlement
    from chargera.proofs.receipt import parse_receipt
    from chargera.proofs.receipt_settlement import ChainAnswer

    try:
        parsed = parse_receipt(receipt)
    except (ChargEraError, RecursionError):
        return None  # `verify_receipt` says what is wrong with it
    settlement, leaf = parsed.settlement, parsed.settled_leaf
    if settlement is None or leaf is None:
        return None
    try:
        return on_chain(rpc, trust, lambda c: read_settlement(c, rpc, settlement, leaf))
    except ChargEraError as error:  # silence, another chain, or no trust file that names one
        return ChainAnswer(rpc, None, is_settled=False, fault=error.message)

"""`verify --anchors`: mirrors over HTTP and files, honest, lagging and lying, by exit code."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chargera import cli
from chargera.cli.anchor_sources import whole_topics
from chargera.proofs.anchor import TopicMessage
from chargera.proofs.running_hash import running_hash
from chargera.proofs.trust import trust_document
from tests.unit.proofs.sample_receipt import (
    ORIGIN,
    TOPIC,
    anchor_of,
    log_verifier,
    sample,
    trust,
)

SAMPLE = sample()
ANCHOR = anchor_of(SAMPLE.log.note())


def topic(first: dict[str, Any] | None = None, more: int = 3) -> list[TopicMessage]:
    """The topic from the receipt's anchor on; `first` is what is other about the anchor."""
    rows: list[TopicMessage] = []
    before = bytes(48)
    for number in range(1, more + 2):
        members: dict[str, Any] = {
            "topic_id": TOPIC.topic_id,
            "payer_account_id": TOPIC.payer,
            "sequence_number": number,
            "consensus_timestamp": f"{1777881599 + number}.000000001",
            "message": ANCHOR.message if number == 1 else b"later %d" % number,
            **((first or {}) if number == 1 else {}),
        }
        before = running_hash(before, **members)
        rows.append(TopicMessage(**members, running_hash=before))
    return rows


ROWS = topic()


@contextmanager
def mirror(rows: Sequence[TopicMessage], newest_block: str | None = None) -> Iterator[str]:
    """A mirror that tells exactly these rows, at an address of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            body: object = {"_status": {"messages": [{"message": "Not found"}]}}
            status = 404
            if address.path == f"/api/v1/topics/{TOPIC.topic_id}/messages":
                first = int(parse_qs(address.query)["sequencenumber"][0].removeprefix("gte:"))
                page = [row.to_mirror() for row in rows if row.sequence_number >= first]
                status, body = 200, {"messages": page, "links": {"next": None}}
            elif address.path == "/api/v1/blocks" and newest_block is not None:
                status, body = 200, {"blocks": [{"timestamp": {"to": newest_block}}]}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a receipt, a trust file and exported anchors."""
    document = trust_document(
        network="testnet",
        operator_id="NL*C4E",
        origin=ORIGIN,
        vkeys=[str(log_verifier())],
        topics=[TOPIC],
    )
    (tmp_path / "trust.json").write_text(json.dumps(document))
    (tmp_path / "receipt.json").write_bytes(SAMPLE.document())
    exported = [{**row.to_mirror(), "tree_size": 1, "state": "anchored"} for row in reversed(ROWS)]
    waiting = {"tree_size": 99, "state": "pending", "sequence_number": None}
    (tmp_path / "anchors.json").write_text(json.dumps([waiting, *exported]))
    return tmp_path


def verify(
    files: Path, capsys: pytest.CaptureFixture[str], *sources: str
) -> tuple[int, str, str]:  # fmt: skip
    """Return exit code, status and detail of the step `anchor_on_topic`."""
    words = [str(files / "receipt.json"), "--trust", str(files / "trust.json")]
    code = cli.run(["verify", *words, *(w for s in sources for w in ("--anchors", s)), "--json"])
    steps = {s["step"]: s for s in json.loads(capsys.readouterr().out)["steps"]}
    return code, steps["anchor_on_topic"]["status"], steps["anchor_on_topic"]["detail"]


LIES: dict[str, list[TopicMessage]] = {
    "message": [replace(ROWS[0], message=b"x"), *ROWS[1:]],
    "payer": [replace(ROWS[0], payer_account_id="0.0.9"), *ROWS[1:]],
    "nanosecond": [replace(ROWS[0], consensus_timestamp="1777881600.000000002"), *ROWS[1:]],
    "hash": [replace(ROWS[0], running_hash=bytes(48)), *ROWS[1:]],
    "order": [replace(ROWS[1], sequence_number=1), replace(ROWS[0], sequence_number=2)],
    "later message": [ROWS[0], replace(ROWS[1], message=b"x"), *ROWS[2:]],
    "another topic's": [replace(row, topic_id="0.0.9") for row in ROWS],
    "consistent message": topic({"message": b"x"}),
    "consistent payer": topic({"payer_account_id": "0.0.9"}),
    "consistent time": topic({"consensus_timestamp": "1777881600.000000002"}),
    "none": [],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_or_lagging_mirror__gives_3_alone_and_beside_an_honest_one(
    lie: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mirror(LIES[lie]) as liar, mirror(ROWS) as honest:
        assert verify(files, capsys, f"mirror:{honest}")[:2] == (0, "ok")
        for sources in ([liar], [liar, honest], [honest, liar], [honest, liar, honest]):
            code, status, detail = verify(files, capsys, *(f"mirror:{s}" for s in sources))
            assert (code, status) == (3, "pending")
            assert liar in detail


def test_a_silent_mirror__gives_3(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mirror(ROWS) as gone:
        pass
    code, status, detail = verify(files, capsys, f"mirror:{gone}")
    assert (code, status) == (3, "pending")
    assert "does not answer" in detail


def test_two_mirrors_with_the_same_other_message__show_the_receipt_wrong(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = topic({"message": b"x"})
    with mirror(other) as first, mirror(other) as second:
        code, status, detail = verify(files, capsys, f"mirror:{first}", f"mirror:{second}")
    assert (code, status) == (1, "failed")
    assert "another message" in detail


def test_exported_anchors__are_a_source_like_a_mirror(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = files / "anchors.json"
    assert verify(files, capsys, str(exported))[:2] == (0, "ok")
    with mirror(LIES["nanosecond"]) as liar:
        assert verify(files, capsys, str(exported), f"mirror:{liar}")[0] == 3
    page = files / "page.json"
    page.write_text(json.dumps({"messages": [ROWS[0].to_mirror()], "links": {"next": None}}))
    assert verify(files, capsys, str(page))[:2] == (0, "ok")


def test_whole_topics__from_mirror_and_file__with_what_the_mirror_knows_of_time(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(mirror(ROWS, "1777881700.123456789"))
        told = whole_topics(trust(), f"mirror:{url}")
        without = whole_topics(trust(), f"mirror:{stack.enter_context(mirror(ROWS))}")
    assert told.messages == ROWS == without.messages
    assert told.as_of is not None
    assert told.as_of.isoformat() == "2026-05-04T08:01:40.123456+00:00"
    assert without.as_of is None
    assert whole_topics(trust(), str(files / "anchors.json")).messages == ROWS
    assert whole_topics(trust(), f"mirror:{url}").messages is None  # it has stopped
    assert "could not be asked" in capsys.readouterr().err

"""What code cannot say of its facts: what a setting prevents, what an anomaly means, and so on.

Each table has exactly the facts of the code: `facts` refuses to write a page otherwise.
"""

from typing import Any

from chargera import rotating
from chargera.app import billing
from chargera.domain.transaction import Anomaly
from chargera.ocpp import entrance
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from chargera.proofs.topic_change import TopicChange
from chargera.store import network

PREVENTS = {
    "database.url": "Records that are lost with this machine. PostgreSQL 14 or newer; give an"
    " address that holds a password as a file.",
    "operator.id": "Bills of two operators in one log: it stands in every bill, and data that"
    " exists is refused under another one.",
    "ledger.network": "Anchors and payouts that only this machine has seen: on Hedera strangers"
    " see them. See run-on-hedera in docs/how-to.",
    "ledger.anchor_interval_s": "A long tamper window: until a head is anchored, whoever runs the"
    " log can rewrite what is under it. It goes into the first policy version; later ones are the"
    " Timelock's.",
    "ledger.anchor_sessions": "Many sessions in that window on a busy day; likewise.",
    "hedera.operator_account": "Bills of Hedera for somebody else's account.",
    "hedera.operator_key": "Give it as a file (`CHARGERA_HEDERA_OPERATOR_KEY_FILE`); it can spend"
    " all that the account holds.",
    "hedera.operator_command": "A key that lies on this machine: the command asks whoever has it.",
    "hedera.operator_public_key": "Signatures of another key: each one is checked.",
    "hedera.nodes": "Somebody else's nodes. Public networks have an address book.",
    "hedera.mirrors": "A mirror that lies or lags and that nobody compares: name several.",
    "hedera.relay": "Wallets that cannot reach the chain.",
    "hedera.chain_id": "Signatures that another network would take too.",
    "hedera.explorer": "Pages without links to whoever else shows the same.",
    "hedera.poll_s": "Public mirrors that refuse: they count what they are asked.",
    "hedera.days_left_min": "Anchors and payouts that stop because the account is empty.",
    "chain.engine": "A machine that has no wheel of pyrevm; both engines give equal receipts.",
    "chain.rpc": "An operator who is the only witness of the payouts: another chain has others.",
    "chain.snapshot_interval": "Starts that replay the whole journal.",
    "settlement.enabled": "Passports, batches and payouts: without it bills end at the receipt.",
    "settlement.attesters": "A network where nobody attests yet. Switch it off where others do.",
    "settlement.window_s": "Batches that are paid before anybody could look at them. It goes into"
    " the first policy version; later ones are the Timelock's.",
    "settlement.contest_period_s": "Passports of chargers that are not there, likewise.",
    "settlement.batch_sessions": "Batches that grow too large for a transaction: 48 at most.",
    "settlement.batch_interval_s": "Bills that wait for others for ever.",
    "settlement.least_claim": "Payouts that cost more than they bring.",
    "log.origin": "Two logs under one name. Data that exists is refused under another one.",
    "log.checkpoint_interval_s": "Entries without a head: each is under one within twice this"
    " time. A short interval makes many heads and partial tiles.",
    "channel.frame_bytes_1_6": "Memory filled by one frame; a larger one ends the connection.",
    "channel.frame_bytes_2_x": "The same for OCPP 2.x, whose messages are larger.",
    "channel.messages_per_s": "One station that takes the time of all: beyond this rate and a"
    " burst its socket is not read for a while. Nothing is lost.",
    "channel.waiting_sockets": "Sockets that connect and never log in: more are answered 503.",
    "channel.waiting_sockets_per_address": "The same from one address. Raise it for a fleet that"
    " comes through one gateway.",
    "channel.guesses_answered": "Guessing that nobody notices: one more is a warning in the log.",
    "channel.guesses_hashed": "Passwords found by trying, and time spent on hashing guesses. For"
    " each identity and each address; stations that were verified before are let in all the same.",
    "channel.heartbeat_interval_s": "Stations that are believed to be there long after they left.",
    "channel.ping_interval_s": "Half-open sockets: a silent one is given up before twice this"
    " time.",
    "http.secure_cookies": "Login cookies sent in the clear. Set it behind a proxy that serves"
    " TLS; without TLS nobody could sign in.",
    "stripe.api_base": "Nothing yet.",
}

METRIC_NOTES = {
    "ocpp_handshakes": "`accepted`, or the reason of the refusal",
    "ocpp_messages": "load by kind of message",
    "ocpp_refusals": "stations that speak badly, or an attack",
    "ocpp_deviations": "stations that break the schema harmlessly; see their message log",
    "ocpp_disconnects": "`socket lost` in numbers: a network that is cut",
    "ocpp_commands": "`no answer`: stations that take no commands",
    "ocpp_batches_failed": "above 0: look at the log at once",
    "password_hashes": "rises with guesses",
    "station_logins_refused": "guessing, or a station with an old password",
    "loop_failures": "above 0: a part restarts; readiness names it",
    "stations_connected": "falls at once: network or certificate",
    "check_ok": "0: `/readyz` names the fault of that check",
    "ocpp_sockets_accepted": "rises fast: stations that flap, or a flood",
    "ocpp_throttled": "a station speaks faster than `channel.messages_per_s`",
    "ocpp_calls_failed": "answered InternalError; the message is kept for review",
    "ocpp_calls_sent_away": "the database did not answer: stations send again",
    "log_entries": "entries that are committed",
    "log_published": "behind `log_entries` for long: the signer refuses",
    "log_lag_seconds": "promise P2: at most twice the checkpoint interval",
    "anchor_size": "entries that nobody can rewrite any more",
    "anchor_lag_seconds": "promise P3: at most the anchor interval and five minutes",
    "anchor_window_seconds": "the interval of the NetworkPolicy in force, and consensus",
    "settlement_step_seconds": "above a minute for long: readiness says so, the log why",
    "settlement_chain_lag_seconds": "the chain stands, or nothing happens on it",
    "settlement_batches_open": "rises for long: nobody signs, or the chain refuses",
    "settlement_failures": "above 0 for long: the log names batch and rule",
    "ledger_balance_tinybar": "0: anchoring and settlement wait until HBAR are transferred",
    "ledger_days_left": "below `hedera.days_left_min` the log warns",
    "live_listeners": "open pages",
    "ocpp_commit_seconds": "the disk: answers wait for it",
    "ocpp_answer_seconds": "what a station waits",
}

ANOMALIES = {
    Anomaly.NO_START: "Values or an end came, the start never did.",
    Anomaly.NO_END: "The station says that the connector is free again, but the end never came.",
    Anomaly.NO_BEGIN_REGISTER: "There is no register value for the begin.",
    Anomaly.NO_END_REGISTER: "There is no register value for the end.",
    Anomaly.NO_TARIFF: "No tariff was in force at the station when the session began.",
    Anomaly.NO_ID_TOKEN: "Nobody knows who charged: no event carries an identifier.",
    Anomaly.REGISTER_FELL: "The energy register went back.",
    Anomaly.METER_SIGNATURE: "The station is registered with a meter key, and begin and end are"
    " not both signed by it, or say something else than what was reported.",
    Anomaly.METER_PAGE_GAP: "Pages of the meter are missing before this session. Billed, but at"
    " proof level L0.",
    Anomaly.IMPLAUSIBLE: "More energy than the connector can give in that time, or a session that"
    " no bill can be made for.",
    Anomaly.SUPERSEDED: "Another session began at the connector before this one ended.",
    Anomaly.SILENT: "Nothing was heard for a day.",
    Anomaly.ENDED_TWICE: "Two ends with different registers.",
    Anomaly.REPEATED_END: "The end came twice, with the same register.",
    Anomaly.LINKED_BY_CONTENT: "Its messages were put together by token, time and register, for"
    " want of a number.",
    Anomaly.TOO_MANY_READINGS: "More readings than one session may have; the rest is in the"
    " message log.",
    Anomaly.TIME_BEFORE_2020: "The station's clock is before 2020: the time of arrival counts.",
    Anomaly.TIME_IN_FUTURE: "The station's clock is more than five minutes ahead: the time of"
    " arrival counts.",
    Anomaly.TIME_NOT_MONOTONIC: "A time is before its predecessor's: the time of arrival counts.",
    Anomaly.SEQ_NO_HOLE: "Sequence numbers are missing; the hole is an entry.",
    Anomaly.SEQ_NO_REUSED: "Two events have one sequence number.",
    Anomaly.TRANSACTION_ID_REUSED: "The station has used this transaction id before.",
    Anomaly.READING_OUTSIDE_SESSION: "A value's time is outside the session; it is left out.",
    Anomaly.LATE_EVENT: "Something came after the end.",
    Anomaly.OUT_OF_ORDER: "Events came in another order than they happened in.",
    Anomaly.UNKNOWN_CONNECTOR: "The station named a connector that is not registered.",
    Anomaly.UNNUMBERED_STOP: "An OCPP 1.6 stop with the id -1 was matched by its idTag.",
    Anomaly.STOPPED_BY_OTHER: "Somebody else stopped the session than started it.",
}

NOT_WRITTEN = "Reserved; nothing writes it yet."
KINDS: dict[EntryKind, tuple[str, tuple[Any, ...]]] = {
    EntryKind.NETWORK_CREATED: (
        "The first entry.",
        (network.make_or_find,),
    ),
    EntryKind.STATION_REGISTERED: ("A station was registered.", (records.station_record,)),
    EntryKind.STATION_CHANGED: (
        "A station got a new password (which no record holds).",
        (records.station_change_record,),
    ),
    EntryKind.STATION_COMMAND: (
        "A command was asked for, and later how the station answered.",
        (records.command_record, records.command_answer_record),
    ),
    EntryKind.AUTHORIZE: (
        "A station asked whether an identifier may charge.",
        (records.authorize_record,),
    ),
    EntryKind.SESSION_STARTED: ("A session began.", (records.session_started_record,)),
    EntryKind.SESSION_ENDED: (
        "A session ended; commits to all readings so far.",
        (records.session_ended_record,),
    ),
    EntryKind.SIGNED_VALUE: (
        "A signed meter value came, byte for byte.",
        (records.signed_value_record,),
    ),
    EntryKind.METER_VALUE_LATE: (
        "A reading came after the end.",
        (records.late_event_record,),
    ),
    EntryKind.CDR: ("A bill, with what it depends on.", (billing.cdr_record,)),
    EntryKind.CREDIT_CDR: (
        "A bill was taken back, whole.",
        (billing._Run._credit,),  # noqa: SLF001
    ),
    EntryKind.TARIFF_PUBLISHED: ("A tariff version.", (records.tariff_record,)),
    EntryKind.TARIFF_ASSIGNED: (
        "From now on a station's new sessions are priced by it.",
        (records.tariff_assigned_record,),
    ),
    EntryKind.SEQUENCE_HOLE: (
        "Sequence numbers of a transaction never came.",
        (records.sequence_hole_record,),
    ),
    EntryKind.ANOMALY: ("Something was odd about a session.", (records.anomaly_record,)),
    EntryKind.DEVIATION: (
        "A message broke its schema and was served: a station's first of each sort in an hour.",
        (records.deviation_record,),
    ),
    EntryKind.SECURITY_EVENT: (
        "A second living socket claimed a station's identity.",
        (entrance.Doorkeeper.claim,),
    ),
    EntryKind.OPERATOR_CORRECTION: (
        "A person decided a session in review.",
        (billing._correction_record,),  # noqa: SLF001
    ),
    EntryKind.RECORD_ERASED: (
        "Entries lost record and salt; never says whose.",
        (records.erasure_record,),
    ),
    EntryKind.ID_TOKEN_CHANGED: (
        "An identifier was added, blocked or changed.",
        (records.id_token_record,),
    ),
    EntryKind.ACCESS_CHANGED: (
        "A login or an API key was made, changed or closed (no record holds a secret).",
        (records.access_record,),
    ),
    EntryKind.KEY_CHANGED: (
        "A key of the ledger was replaced, or heads go on at another topic.",
        (rotating.rotate_operator, rotating.rotate_submit_key, TopicChange.record),
    ),
    EntryKind.POLICY_CHANGED: (NOT_WRITTEN, ()),
    EntryKind.ONBOARDING: (
        "A station asked for its passport.",
        (records.onboarding_record,),
    ),
    EntryKind.PASSPORT_REGISTERED: (
        "A passport was minted.",
        (records.passport_registered_record,),
    ),
    EntryKind.CUSTODY: (
        "Owner, operator, meter, firmware or place changed; a repair; the retirement.",
        (records.custody_record,),
    ),
    EntryKind.PAYMENT: (
        "An escrow was opened for a session, or a gateway named that prepays it.",
        (records.payment_record,),
    ),
    EntryKind.BATCH: (
        "A batch of bills was signed, proposed, settled or killed.",
        (records.batch_record,),
    ),
    EntryKind.JOURNAL_HEAD: (
        "How many transactions the embedded chain has, and their digest.",
        (records.journal_head_record,),
    ),
    EntryKind.PROTOCOL_TESTED: (
        "A standard run over a station's connection ended: its steps, and what they came to.",
        (records.protocol_tested_record,),
    ),
}
"""When an entry is written, and the functions that write its record."""

STEPS = {
    "form": "The document is canonical JSON with exactly the members of its format, within all"
    " limits, its entries in the order of the log under one head.",
    "signature": "The head is signed by a log key that you trust, and names your log.",
    "inclusion": "Each entry, made again from its members, its record and its salt, stands in the"
    " tree under that head.",
    "records": "The entries belong to this session, its station and its tariff; the bill names the"
    " tariff that was quoted at the start, and the operator that you trust.",
    "readings": "The list of readings has the count and the digest that the session's close and"
    " its bill committed to.",
    "bill": "Priced again from readings and tariff, with the same rules, the bill is the same in"
    " every member.",
    "signed_values": "Begin and end are signed by the meter whose key is in the station's"
    " registration. Not asked of stations without one.",
    "credits": "Each bill but the last was taken back, whole, by a credit that names it.",
    "anchor": "A topic message holds exactly this head, its running hash is right, and topic and"
    " payer are trusted.",
    "anchor_on_topic": "The message stands at that place of the topic according to the sources of"
    " `--anchors`.",
    "old_checkpoint": "The head that you kept (`--old-checkpoint`) is signed with a trusted key,"
    " and the log only grew between it and the receipt's head.",
    "settlement": "The bill is a leaf of the batch, the batch has that digest, and a quorum of the"
    " attesters that you trust has signed it. Not asked without a trust file that names them.",
    "settlement_on_chain": "The hub on the chain of `--rpc` has settled that batch, and this bill"
    " in it.",
}

METER_STEPS = {
    "signature": "The key has signed exactly these bytes.",
    "key_source": "The key came from outside; a key inside the message is never used.",
    "key_curve": "The key is of the curve that the signature names.",
    "pagination": "Page numbers follow each other.",
    "transaction_frame": "The first reading begins a transaction, the last one ends it.",
    "same_meter": "All readings are of one register of one meter.",
    "values_never_fall": "Register and clock only move forward.",
    "meter_state": "The meter says that it works, and counts no error.",
    "time_status": "The meter's clock is good enough for what the tariff needs it for.",
    "identification": "The identification fits the transaction.",
    "loss_compensation": "Compensation of cable losses, where there is any, is stated alike.",
    "legal_register": "The register may be billed.",
}

LIMITS = {
    "gather_s": "how long a commit waits for more messages when many stations talk",
    "handshake_timeout_s": "from accept to upgrade, TLS and password included",
    "request_bytes_max": "the HTTP request that asks for the upgrade",
    "waiting_sockets_max": "sockets before login, in all",
    "waiting_sockets_per_address_max": "sockets before login, of one address",
    "retry_after_s": "`Retry-After` of a 503",
    "frame_bytes_max_1_6": "a frame of 1.6; a larger one ends the connection",
    "frame_bytes_max_2_x": "a frame of 2.x",
    "depth_max": "levels of nesting in a frame",
    "members_max": "members of all objects of a frame",
    "messages_per_s": "sustained rate of a station; beyond it its socket rests",
    "messages_burst": "burst before that",
    "queued_messages_max": "messages of a station that did not wait for their answers",
    "output_bytes_max": "bytes that a station does not read",
    "output_messages_max": "messages that a station does not read",
    "ping_interval_s": "silence before a ping; gone before twice this time",
    "probe_timeout_s": "what an old socket has to prove that it lives",
    "command_timeout_s": "what a station has to answer a command",
    "commands_queued_max": "commands that wait for one station",
    "command_settle_s": "pause between boot and first command",
    "command_unbooted_s": "after this time a station that did not boot takes commands",
    "batch_max": "messages that share a commit",
    "database_patience_s": "how long stations wait for a database that is away; then close 1013",
    "stop_timeout_s": "what is in flight has to end when the server stops",
}
LIMIT_SETTINGS = {
    "frame_bytes_max_1_6": "channel.frame_bytes_1_6",
    "frame_bytes_max_2_x": "channel.frame_bytes_2_x",
    "messages_per_s": "channel.messages_per_s",
    "ping_interval_s": "channel.ping_interval_s",
    "waiting_sockets_max": "channel.waiting_sockets",
    "waiting_sockets_per_address_max": "channel.waiting_sockets_per_address",
}

TARIFF_MEMBERS: dict[str, dict[str, object]] = {
    "Tariff": {
        "country_code": "NL",
        "party_id": "C4E",
        "id": "T",
        "currency": "EUR",
        "type": "REGULAR",
        "tariff_alt_text": [{"language": "en", "text": "night is cheap"}],
        "tariff_alt_url": "https://tariff.example",
        "min_price": {"excl_vat": "1"},
        "max_price": {"excl_vat": "9"},
        "elements": [],
        "start_date_time": "2026-01-01T00:00:00Z",
        "end_date_time": "2027-01-01T00:00:00Z",
        "energy_mix": {"is_green_energy": True},
        "last_updated": "2026-01-01T00:00:00Z",
    },
    "PriceComponent": {"type": "ENERGY", "price": "0.25", "vat": "21", "step_size": 1},
    "TariffRestrictions": {
        "start_time": "08:00",
        "end_time": "18:00",
        "start_date": "2026-01-01",
        "end_date": "2026-12-31",
        "min_kwh": "1",
        "max_kwh": "50",
        "min_current": "6",
        "max_current": "16",
        "min_power": "3",
        "max_power": "11",
        "min_duration": 60,
        "max_duration": 7200,
        "day_of_week": ["MONDAY"],
        "reservation": "RESERVATION",
    },
}
"""Every member of these objects in OCPI 2.2.1, with a value to try it with."""
WITHOUT_EFFECT = {
    "country_code",
    "party_id",
    "tariff_alt_text",
    "tariff_alt_url",
    "energy_mix",
    "last_updated",
    "type",
}
"""Members of a Tariff that are kept and change no price."""

-- The tables of the first line: from the station's socket to the receipt.
-- Times are timestamptz (UTC), energy Wh, power W, money minor units. `received_at` is the
-- network clock's; `at` is what the station said.

create table network (
    singleton boolean primary key default true check (singleton),
    operator_id text not null,              -- OCPI country and party, 'NL*C4E'
    log_origin text not null,
    created_at timestamptz not null
);

-- People and machines -------------------------------------------------------------------------

create table login (
    login_id uuid primary key,
    name text not null unique check (length(name) between 1 and 64),
    role text not null check (role in ('operator', 'host', 'driver', 'auditor', 'technician')),
    password_hash text,                     -- argon2id; null until a password is set
    created_at timestamptz not null,
    disabled_at timestamptz
);

create table login_visit (                  -- a browser that has signed in
    visit_hash bytea primary key,           -- SHA-256 of the cookie's value
    login_id uuid not null references login,
    csrf_secret text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

create table api_key (
    api_key_id uuid primary key,
    name text not null,
    login_id uuid not null references login,
    key_hash bytea not null unique,         -- SHA-256 of the key; the key is shown once
    scopes text[] not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);

create table idempotency (                  -- one effect for one Idempotency-Key of one login
    login_id uuid not null references login,
    key text not null check (length(key) between 1 and 128),
    request_digest bytea not null,
    status int not null,
    response bytea not null,
    created_at timestamptz not null,
    primary key (login_id, key)
);

-- Stations ------------------------------------------------------------------------------------

create table station (
    station_id text primary key check (length(station_id) between 1 and 48),
    manufacturer text not null,
    model text not null,
    serial_number text not null,
    latitude text not null,                 -- decimal strings: they go into canonical records
    longitude text not null,
    time_zone text not null,
    ocpp_versions text[] not null,          -- '1.6', '2.0.1'
    security_profile int not null check (security_profile between 1 and 3),
    plain_allowed boolean not null,
    password_hash text not null,
    password_verified bytea,                -- keyed fingerprint of the password that matched the hash
    meter_key_der_hex text,                 -- SubjectPublicKeyInfo; set = unsigned values go to review
    host_login_id uuid references login,
    registered_at timestamptz not null,
    -- what the station last told
    vendor_reported text,
    model_reported text,
    firmware_version text,
    last_boot_at timestamptz,
    last_seen_at timestamptz,
    ocpp_version text                       -- of the last connection
);
create index station_host on station (host_login_id);

create table connector (
    station_id text not null references station,
    evse int not null,
    connector int not null,
    ocpp16_connector_id int not null,       -- place in the list, from 1
    connector_type text not null,
    power_w_max bigint not null,
    status text not null default 'Unknown', -- Available, Occupied, Reserved, Unavailable, Faulted, Unknown
    status_detail text,                     -- the 1.6 status or error code, as sent
    status_at timestamptz,
    status_charging text,                   -- what it said of a transaction (1.6): charging, idle
    primary key (station_id, evse, connector)
);

create table tariff_version (
    tariff_id text not null,
    version int not null,
    digest text not null,
    document jsonb not null,                -- normalised OCPI 2.2.1 Tariff (decimals as strings)
    published_at timestamptz not null,
    log_index bigint not null,
    primary key (tariff_id, version)
);

create table tariff_in_force (              -- which tariff a station's new sessions get, since when
    station_id text not null references station,
    from_at timestamptz not null,
    tariff_id text not null,
    version int not null,
    primary key (station_id, from_at),
    foreign key (tariff_id, version) references tariff_version
);

create table id_token (
    id_token_key text primary key,          -- casefolded value: matching disregards case and type (1.6)
    id_token text not null,
    id_token_type text not null,
    blocked boolean not null default false,
    expires_at timestamptz,
    login_id uuid references login,
    created_at timestamptz not null,
    erased_at timestamptz
);
create index id_token_login on id_token (login_id);

-- What the channel said -----------------------------------------------------------------------

create table ocpp_message (
    message_no bigint generated always as identity,
    station_id text not null,
    received_at timestamptz not null,
    inbound boolean not null,               -- true: CALL of the station; false: CALL of ours
    ocpp_version text not null,
    action text,
    message_id text,
    frame bytea not null,                   -- raw bytes as received (or as sent)
    answer bytea,                           -- raw bytes of the answer
    outcome text not null,                  -- ok, deviation, error code, duplicate, ...
    primary key (station_id, message_no)    -- one index: nothing is written more often
);

create table charging_session (
    session_id text primary key,            -- UUIDv7, canonical text
    station_id text not null,
    evse int not null,
    connector int not null,
    ocpp_version text not null,
    transaction_id text,                    -- the station's (1.6: ours, as decimal text)
    generation int not null default 0,      -- counts reuse of a transaction id by the station
    id_token_key text,
    id_token_status text,                   -- Accepted, Blocked, Expired, Invalid
    id_token_rank bigint,                   -- -1: of the start; a seqNo: of an update; 2^62: of the stop
    login_id uuid,                          -- whose token it was at the start
    remote_start_id bigint,
    state text not null check (state in ('charging', 'ended', 'billed', 'review', 'refused')),
    charging boolean not null,              -- false: parked
    started boolean not null,               -- the start event has arrived
    ended boolean not null,                 -- the end event has arrived
    started_at timestamptz not null,        -- effective times: the station's if it stands, else ours
    ended_at timestamptz,
    station_started_at timestamptz,         -- what the station gave as the time of the start
    meter_start_wh bigint,
    meter_stop_wh bigint,
    last_register_wh bigint,
    last_power_w bigint,
    stop_reason text,
    tariff_id text,
    tariff_version int,
    currency text,
    anomalies text[] not null default '{}',
    event_count int not null default 0,     -- rows in session_event
    started_log_index bigint,
    ended_log_index bigint,
    -- the current bill; null until billed
    net_minor bigint,
    vat_minor bigint,
    gross_minor bigint,
    proof_level text not null default 'L0',
    cdr_log_index bigint,
    received_at timestamptz not null,       -- of the first event
    changed_at timestamptz not null,
    bill_after timestamptz                  -- wall time of the database; null: nothing to bill
);
create index charging_session_station on charging_session (station_id, received_at desc);
create index charging_session_transaction on charging_session (station_id, transaction_id);
create index charging_session_start on charging_session (station_id, station_started_at)
    where ocpp_version = '1.6';             -- a 1.6 start has no number by which it could be known
create index charging_session_open on charging_session (station_id) where state = 'charging';
create index charging_session_due on charging_session (bill_after) where bill_after is not null;
create index charging_session_login on charging_session (login_id) where login_id is not null;
create index charging_session_id_token on charging_session (id_token_key);

create sequence transaction_number as bigint minvalue 1 maxvalue 2147483647 cycle;

create table session_event (                -- every value and state change of a session, as it came
    session_id text not null,
    n int not null,                         -- order of arrival, from 0
    record bytea not null,                  -- canonical JSON: see proofs/records.py, SessionEvent
    primary key (session_id, n)
);

create table signed_value (
    session_id text not null,
    n int not null,                         -- order of arrival within the session
    context text not null,                  -- begin, end, other
    raw bytea not null,                     -- the OCMF string, byte for byte
    arrival_no bigint generated always as identity,
    received_at timestamptz not null,
    log_index bigint,
    primary key (session_id, n)
);

create table cdr (
    cdr_id text primary key,                -- CDR number, shown to people
    session_id text not null references charging_session,
    cdr_no bigint generated always as identity,
    is_credit boolean not null,
    replaces_cdr_id text references cdr (cdr_id),   -- credit: what it takes back; new: what it follows
    currency text not null,
    net_minor bigint not null,
    vat_minor bigint not null,
    gross_minor bigint not null,
    energy_wh bigint not null,
    document bytea not null,                -- the CDR record as logged
    created_at timestamptz not null,
    log_index bigint not null
);
create index cdr_session on cdr (session_id);

create table station_command (
    command_id uuid primary key,
    station_id text not null references station,
    action text not null,
    request jsonb not null,
    requested_by text not null,
    requested_at timestamptz not null,
    state text not null check (state in ('queued', 'sent', 'answered', 'failed')),
    answer jsonb,
    answered_at timestamptz,
    session_id text
);
create index station_command_station on station_command (station_id, requested_at desc);

-- The event log -------------------------------------------------------------------------------

create table log_head (                     -- one row; its lock orders all writers of entries
    singleton boolean primary key default true check (singleton),
    size bigint not null
);
insert into log_head (size) values (0);

create table log_entry (
    log_index bigint primary key,           -- dense, from 0
    kind text not null,
    station_id text,
    station_seq bigint,
    session_id text,
    received_at timestamptz not null,
    entry bytea not null,                   -- canonical envelope: the leaf's bytes
    record bytea,                           -- canonical record; null after erasure
    salt bytea                              -- 32 bytes; null after erasure
);
create index log_entry_station on log_entry (station_id, log_index);
create index log_entry_session on log_entry (session_id, log_index) where session_id is not null;
create index log_entry_kind on log_entry (kind, log_index);

create table checkpoint (
    tree_size bigint primary key,
    note bytea not null,
    signed_at timestamptz not null
);

create table anchor (
    tree_size bigint primary key references checkpoint,
    requested_at timestamptz not null,
    hedera_transaction_id text not null unique, -- stored before the first send
    state text not null check (state in ('pending', 'submitted', 'anchored', 'failed')),
    attempts int not null default 0,
    topic_id text,
    sequence_number bigint,
    consensus_timestamp text,               -- seconds.nanoseconds
    message jsonb,                          -- AnchoredMessage, as in the receipt
    anchored_at timestamptz
);

-- The embedded topic: stands where Hedera's consensus service stands on a public network -------

create table topic (
    topic_id text primary key,
    memo text not null,
    payer_account_id text not null,
    running_hash bytea not null,
    sequence_number bigint not null,
    consensus_timestamp_ns bigint not null
);

create table topic_message (
    topic_id text not null references topic,
    sequence_number bigint not null,
    consensus_timestamp_ns bigint not null unique,
    hedera_transaction_id text not null unique,
    payer_account_id text not null,
    message bytea not null,
    running_hash bytea not null,
    primary key (topic_id, sequence_number)
);

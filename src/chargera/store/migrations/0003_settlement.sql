-- From the bill to the payout: passports, payments, lanes, batches, and what is sent to the chain.
-- Addresses, digests and keys of sessions are text: `0x` and hex (addresses in EIP-55). Amounts are
-- minor units of their asset. Times are the network clock's.

create table passport (                     -- one registration of a station; the newest counts
    registration_no bigint generated always as identity primary key,
    station_id text not null references station,
    passport_id text not null,              -- token id
    step text not null,                     -- see app.passports.Step
    request jsonb not null,                 -- facts that consent and registration are digests of
    metadata jsonb not null,
    host text,                              -- its host's address; null until he is known
    consent text,                           -- his signature
    onboarding_log_index bigint,
    topic_id text,                          -- where the onboarding entry is anchored
    sequence_number bigint,
    reading_log_index bigint,               -- signed reading that shows the meter key to be held
    registration_hash text,
    transaction_hash text,                  -- of `register`
    mintable_at timestamptz,
    mint_transaction_hash text,
    registered_at timestamptz,              -- as the chain has it
    registered_log_index bigint,
    retired_at timestamptz,
    refusal text,                           -- why the contract will not have it
    refusal_field text,
    requested_at timestamptz not null,
    changed_at timestamptz not null
);
create unique index passport_station on passport (station_id) where step <> 'refused';
create index passport_id on passport (passport_id);
create index passport_open on passport (step) where step not in ('registered', 'refused');

create table custody (                      -- what happens to a charger after its registration
    custody_no bigint generated always as identity primary key,
    passport_id text not null,
    station_id text not null references station,
    kind text not null,                     -- owner, operator, meter, firmware, location, repair, retirement
    number bigint,                          -- place in the passport's history, once the chain has it
    value text not null,                    -- 32 bytes
    record jsonb not null,
    record_digest text not null,
    host_signature text,
    step text not null,                     -- see app.passports.CustodyStep
    log_index bigint not null,
    transaction_hash text,
    refusal text,
    requested_at timestamptz not null
);
create index custody_passport on custody (passport_id, custody_no);

create table payment (                      -- who pays a session, and out of what
    session_key text primary key,           -- the pseudonym that leaves carry
    rail text not null check (rail in ('wallet', 'fiat')),
    payer text,
    gateway text,
    asset text not null,
    max_amount numeric(20) not null,        -- of the escrow; of a fiat session what was prepaid
    station_id text not null references station,
    evse int not null,
    id_token_key text,                      -- starts the session of an escrow
    session_id text unique,
    transaction_hash text,
    log_index bigint,
    opened_at timestamptz not null
);
create index payment_id_token on payment (id_token_key) where rail = 'wallet';

create table network_policy (               -- the contract's versions, as far as bills need them
    version int primary key,
    from_at timestamptz not null,
    parameters jsonb not null,
    assets jsonb not null
);

create table lane (                         -- numbers of CDRs, dense in each (operator, asset)
    operator_id text not null,
    asset text not null,
    next_no bigint not null,
    primary key (operator_id, asset)
);

create table lane_cdr (                     -- a numbered CDR: at most one of a session
    operator_id text not null,
    asset text not null,
    cdr_no bigint not null,
    session_id text not null unique,
    log_index bigint not null,
    passport_id text not null,
    state text not null default 'waiting',  -- waiting, pending, settled, skipped, disputed
    batch text,                             -- the last batch that it was put into
    primary key (operator_id, asset, cdr_no)
);
create index lane_cdr_waiting on lane_cdr (log_index) where state = 'waiting';
create index lane_cdr_batch on lane_cdr (batch);

create table batch (
    digest text primary key,
    batch_no bigint generated always as identity,
    operator_id text not null,
    asset text not null,
    state text not null check (state in ('formed', 'signed', 'proposed', 'settled', 'killed', 'dropped')),
    document jsonb not null,                -- the batch as it is signed
    gateway_signature text,
    log_index bigint,
    formed_at timestamptz not null,
    proposed_at timestamptz,
    window_ends_at timestamptz,
    propose_transaction_hash text,
    settle_transaction_hash text,
    paid numeric(20),                       -- bit i: leaf i was paid
    disputed numeric(20)
);
create index batch_open on batch (batch_no) where state in ('formed', 'signed', 'proposed');

create table attestation (                  -- one attester's answer to one digest
    digest text not null,
    attester text not null,                 -- address
    place int not null,                     -- index in the registry
    decision text not null check (decision in ('signed', 'refused')),
    signature text,
    record bigint,                          -- log index that a refusal names
    reason text,
    decided_at timestamptz not null,
    primary key (digest, attester)
);

create table chain_send (                   -- a transaction is stored before it is sent
    purpose text primary key,               -- one effect for one purpose, ever
    sender text not null,
    nonce bigint not null,
    raw bytea not null,
    transaction_hash text not null unique,
    stored_at timestamptz not null,
    outcome text,                           -- null until there is a receipt; ok, failed
    unique (sender, nonce)
);

-- The embedded chain: the journal that it lives from, its logs for whoever asks, its snapshots.
-- Addresses have 20 bytes, hashes 32; block times are Unix seconds of the network clock.

create table chain (
    singleton boolean primary key default true check (singleton),
    chain_id bigint not null                -- 48 bits, drawn at the first start
);

create table chain_transaction (            -- one a block, never changed
    number bigint primary key check (number > 0),   -- dense
    hash bytea not null unique,
    raw bytea not null,                     -- as its sender signed it
    sender bytea not null,
    receiver bytea,                         -- null: it makes a contract
    block_time bigint not null,
    succeeded boolean not null,
    gas_used bigint not null,
    created bytea,
    output bytea not null,
    digest bytea not null,                  -- of the journal up to here: the block's hash
    state_digest bytea not null             -- of all changes of state up to here
);

-- What is signed does not compress; trying costs more than it saves.
alter table chain_transaction alter column raw set storage external;

create table chain_log (                    -- what contracts said, in order
    number bigint not null references chain_transaction,
    log_index int not null,
    address bytea not null,
    topic0 bytea,
    topic1 bytea,
    topic2 bytea,
    topic3 bytea,
    data bytea not null,
    primary key (number, log_index)
);
create index chain_log_topic on chain_log (topic0, number);
create index chain_log_address on chain_log (address, number);

create table chain_snapshot (               -- the whole state after a transaction; derived
    number bigint primary key,
    block_time bigint not null,
    digest bytea not null,
    state_digest bytea not null,
    content bytea not null,
    content_digest bytea not null           -- SHA-256
);

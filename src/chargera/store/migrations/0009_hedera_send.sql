-- Transactions of Hedera, each stored before it is first sent, so that none is sent twice.

create table hedera_send (
    hedera_transaction_id text primary key, -- payer@seconds.nanoseconds
    purpose text not null,                  -- what it is for: ethereum:0x..., init:topic, ...
    state text not null default 'sent' check (state in ('sent', 'done', 'failed', 'lost')),
    status text,                            -- the network's word for its outcome
    entity_id text,                         -- what it made or changed
    stored_at timestamptz not null,
    settled_at timestamptz
);

-- Of one purpose at most one has, or may have, an effect.
create unique index hedera_send_effect on hedera_send (purpose) where state in ('sent', 'done');

-- The topics of Hedera that heads of this log are anchored on, one after the other.

create table hedera_topic (
    from_size bigint primary key,           -- heads of this size and more go onto it
    topic_id text not null unique,
    network text not null,                  -- name of the profile that it was made in
    payer_account_id text not null,
    submit_keys jsonb not null,             -- compressed public keys in hex: current, next, cold
    made_at timestamptz not null
);

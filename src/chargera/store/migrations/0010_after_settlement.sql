-- Bills that go into another batch, and what a host has returned of settled ones.

alter table lane_cdr add column doubted boolean not null default false;  -- goes into a batch alone

create index cdr_credit on cdr (session_id) where is_credit;

create table host_return (                  -- a host's own transfer for what credits took back
    session_id text not null,
    transaction_hash text not null,
    place int not null,                     -- among the transfers of that transaction
    amount numeric(40) not null,            -- minor units of the lane's asset
    amount_minor bigint not null,           -- of the bill's currency
    returned_at timestamptz not null,
    primary key (transaction_hash, place)
);
create index host_return_session on host_return (session_id);

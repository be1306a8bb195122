-- The contracts of this network, as they were deployed in the same commit.

create table deployment (
    singleton boolean primary key default true check (singleton),
    contracts jsonb not null,               -- addresses by name
    deployed_at timestamptz not null
);

drop table network_policy;                  -- the chain tells it at every start

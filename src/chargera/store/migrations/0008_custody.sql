-- Custody records from request to chain, and what a station was registered as before one of them.

alter table custody
    drop column record_digest,              -- follows from the record
    alter column number set not null,       -- the place in the passport's history that it asks for
    add column host text not null,          -- whose signature, or transaction, it needs
    add column station_log_index bigint,    -- the registration that changed with it
    add column reading_log_index bigint,    -- signed reading that shows a new meter to be held
    add column topic_id text,               -- where all of it is anchored
    add column sequence_number bigint,
    add column recorded_at timestamptz;     -- as the chain has it
create unique index custody_open on custody (passport_id) where step not in ('recorded', 'refused');

alter table passport add column left_at timestamptz;  -- last second as this operator's

create table former_registration (          -- what sessions from before a change are judged by
    station_id text not null references station,
    until_log_index bigint not null,        -- of the registration that came after it
    latitude text not null,
    longitude text not null,
    time_zone text not null,
    meter_key_der_hex text,
    primary key (station_id, until_log_index)
);

-- What the first page shows of everything that ever was: kept by whoever writes bills, so that no
-- look at the page adds up all sessions.

create table network_total (
    singleton boolean primary key default true check (singleton),
    bills bigint not null,                  -- bills that stand: a credit takes one back
    energy_wh bigint not null               -- of these
);
insert into network_total (bills, energy_wh)
    select coalesce(sum(case when is_credit then -1 else 1 end), 0), coalesce(sum(energy_wh), 0)
    from cdr;

create index charging_session_review on charging_session (station_id) where state = 'review';
create index charging_session_ended on charging_session (ended_at) where ended_at is not null;
create index cdr_created on cdr (created_at);

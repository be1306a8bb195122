-- The message log in packs: what shares a commit is one compressed row (store/message_packs.py).

create table ocpp_message_pack (
    pack_no bigint generated always as identity primary key,
    station_ids text[] not null,            -- whose exchanges are in it
    body bytea not null                     -- times, frames, answers, outcomes
);

alter table ocpp_message_pack alter body set storage external;  -- it is compressed

-- New packs wait in a list, and many of them are sorted in at once.
create index ocpp_message_pack_station on ocpp_message_pack using gin (station_ids)
    with (gin_pending_list_limit = 512);

-- What was there becomes packs of one, not compressed: a zero, then as in every pack.
insert into ocpp_message_pack (station_ids, body)
    select array[station_id],
        '\x00'::bytea || int4send(octet_length(head)) || head || frame || coalesce(answer, '')
    from ocpp_message, lateral (
        select convert_to(json_build_array(
            json_build_array(station_id), json_build_array(received_at),
            json_build_array(inbound), json_build_array(ocpp_version), json_build_array(action),
            json_build_array(message_id), json_build_array(outcome),
            json_build_array(octet_length(frame)),
            json_build_array(coalesce(octet_length(answer), -1)))::text, 'UTF8') as head) as made
    order by message_no;

drop table ocpp_message;

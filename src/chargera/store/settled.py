"""How far a session's bill is settled on chain, as SQL over `charging_session c`.

Null before there is a bill, and in a network that settles nothing; `off_chain` for a bill without
a number. What later credits take back of a settled bill is the host's to pay (`owed_minor`) until
his transfer was found (`returned_minor`, `returned_by`): see `app.host_returns`.
"""

JOINS = (
    " left join lane_cdr l on l.session_id = c.session_id"
    " left join cdr first on first.session_id = c.session_id and first.log_index = l.log_index"
    " left join payment p on p.session_id = c.session_id"
    " cross join lateral (select coalesce(sum(r.amount), 0) as amount,"
    "  coalesce(sum(r.amount_minor), 0) as amount_minor,"
    "  (array_agg(r.transaction_hash order by r.returned_at desc))[1] as transaction_hash"
    "  from host_return r where r.session_id = c.session_id) made"
)
"""The settled bill `first` with its number `l`, payment `p`, and what was returned of it."""

CREDITED_MINOR = (
    "case when p.rail = 'fiat' then first.net_minor - c.net_minor"
    " else first.gross_minor - c.gross_minor end"
)
"""What credits took back of what the contracts have paid; a gateway keeps the VAT of its bills."""

MEMBER = (
    "(select case"
    " when l.session_id is not null then jsonb_build_object("
    "  'state', l.state, 'cdr_no', l.cdr_no,"
    "  'batch', case when l.state <> 'waiting' then l.batch end)"
    f"  || case when l.state = 'settled' and {CREDITED_MINOR} > made.amount_minor"
    f"   then jsonb_build_object('owed_minor', {CREDITED_MINOR} - made.amount_minor)"
    "   else '{}'::jsonb end"
    "  || case when made.transaction_hash is not null then jsonb_build_object("
    "   'returned_minor', made.amount_minor, 'returned_by', made.transaction_hash)"
    "   else '{}'::jsonb end"
    " when c.state = 'billed' and exists (select from deployment)"
    "  then jsonb_build_object('state', 'off_chain', 'cdr_no', null, 'batch', null)"
    f" end from (values (0)) one(n){JOINS})"
)

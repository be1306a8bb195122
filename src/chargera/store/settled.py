"""How far a session's bill is settled on chain, as SQL over `charging_session c`.

Null before there is a bill, and in a network that settles nothing; `off_chain` for a bill without
a number. What later credits take back of a settled bill is the host's to pay: `owed_minor`.
"""

MEMBER = (
    "(select case"
    " when l.session_id is not null then jsonb_build_object("
    "  'state', l.state, 'cdr_no', l.cdr_no,"
    "  'batch', case when l.state <> 'waiting' then l.batch end)"
    "  || case when l.state = 'settled' and first.gross_minor > c.gross_minor"
    "   then jsonb_build_object('owed_minor', first.gross_minor - c.gross_minor)"
    "   else '{}'::jsonb end"
    " when c.state = 'billed' and exists (select from deployment)"
    "  then jsonb_build_object('state', 'off_chain', 'cdr_no', null, 'batch', null)"
    " end from (values (0)) one(n)"
    " left join lane_cdr l on l.session_id = c.session_id"
    " left join cdr first on first.session_id = c.session_id and first.log_index = l.log_index)"
)

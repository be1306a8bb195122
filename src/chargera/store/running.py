"""The last values of running sessions, as SQL.

For speed the channel writes a session's row only when its state changes; what its meter said
since stands in `session_event` alone.
"""

LOOKED_AT = 8
"""Rows of a session that are looked at: one message may bring several values of one moment."""

LAST = (
    "left join lateral (select max(r.register_wh) as register_wh,"
    " (array_agg(r.power_w order by r.n desc) filter (where r.power_w is not null))[1] as power_w"
    " from (select e.n, (j.record ->> 'register_wh')::bigint as register_wh,"
    "  (j.record ->> 'power_w')::bigint as power_w from session_event e"
    "  cross join lateral (select convert_from(e.record, 'UTF8')::jsonb as record) j"
    f"  where e.session_id = c.session_id order by e.n desc limit {LOOKED_AT}) r"
    ") last on c.state = 'charging'"
)
"""Joins `last` to a session `c`: its newest register and power, null where it does not run."""

REGISTER_WH = (
    "case when c.state = 'charging' then"
    " coalesce(c.meter_stop_wh, last.register_wh, c.last_register_wh) else c.meter_stop_wh end"
)
"""The register at the end, or so far; null for a session that has neither."""
POWER_W = "case when c.charging then coalesce(last.power_w, c.last_power_w) else 0 end"

"""The statements that store a batch. They run in one transaction, in the order in which they stand here."""

from __future__ import annotations

# The lock of the whole batch. Where another place is found than the one that was read from, nothing is stored: the
# transaction whose COMMIT got no answer was committed after all.
ADVANCE = """
    UPDATE ship_positions SET segment = %s, byte_offset = %s, updated_at = now()
     WHERE spool = %s AND segment = %s AND byte_offset = %s
"""
FIRST_POSITION = """
    INSERT INTO ship_positions (spool, segment, byte_offset, updated_at) VALUES (%s, %s, %s, now())
    ON CONFLICT DO NOTHING
"""
FIND_POSITION = "SELECT segment, byte_offset FROM ship_positions WHERE spool = %s"

LOG_COLUMNS = {
    "id": "uuid",
    "cost_nanousd": "bigint",
    "request_bytes": "bigint",
    "response_bytes": "bigint",
    "gateway": "integer",
    "provider": "integer",
    "model": "integer",
    "response_model": "integer",
    "model_type": "integer",
    "path": "integer",
    "token": "integer",
    "team": "integer",
    "person": "integer",
    "agent": "integer",
    "request_type": "integer",
    "request_content_type": "integer",
    "response_content_type": "integer",
    "duration_ms": "integer",
    "first_byte_ms": "integer",
    "tokens_in": "integer",
    "tokens_out": "integer",
    "cache_read": "integer",
    "cache_write": "integer",
    "status": "smallint",
    "error_code": "smallint",
    "step": "smallint",
    "attempts": "smallint",
    "success": "boolean",
    "complete": "boolean",
    "cached": "boolean",
    "authenticated": "boolean",
    "custom_cost": "boolean",
    "usage_estimated": "boolean",
    "event_id": "text",
    "metadata": "jsonb",
}
BODY_COLUMNS = {
    "request_cut": "boolean",
    "response_cut": "boolean",
    "error": "text",
    "attempt_list": "jsonb",
    "session": "jsonb",
    "controls": "jsonb",
    "request_from": "integer",
    "request_length": "integer",
    "response_from": "integer",
    "response_length": "integer",
}
_NAMES = ", ".join(LOG_COLUMNS)
_TYPED = ", ".join(f"{name} {kind}" for name, kind in (LOG_COLUMNS | BODY_COLUMNS).items())

# One text for all small columns and one string of bytes for all bodies: quoting them one by one would cost the client
# more than all the rest. Bodies are stored only with rows that this statement has made, so what was deleted does not
# come back with its body.
INSERT_LOGS = f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%s::json) AS given ({_TYPED})
    ), kept AS (
        INSERT INTO logs ({_NAMES}) SELECT {_NAMES} FROM given ON CONFLICT DO NOTHING RETURNING gateway, id
    ), bodies AS (
        INSERT INTO log_bodies (
            id, gateway, request_cut, response_cut, error, attempts, session, controls, request, response)
        SELECT id, gateway, request_cut, response_cut, error, attempt_list, session, controls,
               substring(bytes FROM request_from FOR request_length),
               substring(bytes FROM response_from FOR response_length)
          FROM given JOIN kept USING (gateway, id) CROSS JOIN (SELECT %s::bytea AS bytes) AS sent
        ON CONFLICT DO NOTHING
    )
    SELECT id::text FROM kept
"""  # noqa: S608 - the columns stand above

_SUMS = {
    "requests": "bigint",
    "errors": "bigint",
    "cached": "bigint",
    "unpriced": "bigint",
    "tokens_in": "bigint",
    "tokens_out": "bigint",
    "cache_read": "bigint",
    "cache_write": "bigint",
    "cost_nanousd": "bigint",
    "duration_ms": "bigint",
}
_KEY = "gateway, hour, provider, model"

ADD_ROLLUPS = f"""
    INSERT INTO usage_rollups AS old ({_KEY}, {", ".join(_SUMS)})
    SELECT gateway, to_timestamp(hour_s), provider, model, {", ".join(_SUMS)}
      FROM json_to_recordset(%s::json) AS given (
           gateway integer, hour_s bigint, provider integer, model integer,
           {", ".join(f"{name} {kind}" for name, kind in _SUMS.items())})
     ORDER BY gateway, hour_s, provider, model
    ON CONFLICT ({_KEY}) DO UPDATE
       SET {", ".join(f"{name} = old.{name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608 - the columns stand above

ADD_LIVE_ROWS = """
    INSERT INTO live_rows AS old (gateway, count)
    SELECT gateway, count FROM unnest(%s::integer[], %s::bigint[]) AS given (gateway, count) ORDER BY gateway
    ON CONFLICT (gateway) DO UPDATE SET count = old.count + excluded.count
"""

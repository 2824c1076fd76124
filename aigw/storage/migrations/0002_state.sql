-- What several gateways share where there is no Redis: counters that requests are held to, and cached answers.
--
-- Counters are logged tables, so that they outlive a restart and a crash of the server; but no request waits for the
-- disk: the two functions switch synchronous_commit off for their own transaction. What a crash of the server (never
-- one of a gateway) can lose is the last half second of counting.

CREATE TABLE counters (
    slot        bigint NOT NULL,  -- a stretch of time; numbered by whoever counts
    used        bigint NOT NULL,  -- what was taken, in the counter's own unit; from 0 to 2^53 - 1
    expires_ms  bigint NOT NULL,  -- milliseconds since the epoch (UTC) from which on the slot counts no more
    key         bytea NOT NULL,   -- BLAKE2b-128 of the counter's name: short, and free of what callers put into names
    PRIMARY KEY (key, slot)
) WITH (fillfactor = 50);
COMMENT ON TABLE counters IS 'What limits and budgets have counted, by counter and stretch of time';

-- `used` stands in no index, so an update stays on its page, for which the fill factor leaves room.
CREATE INDEX counters_expiry ON counters (expires_ms);

CREATE TABLE counter_writers (
    last_batch  bigint NOT NULL,                     -- number of the last batch of corrections that was applied
    applied_at  timestamptz NOT NULL DEFAULT now(),  -- when
    writer      bytea PRIMARY KEY                    -- a process; it makes up a name at each start
) WITH (fillfactor = 50);
COMMENT ON TABLE counter_writers IS 'Which corrections have been applied, so that one sent twice counts once';

-- Takes all of some amounts, or none. Whoever takes from a counter holds its lock to the end of the transaction, so
-- that nobody else's amount comes between looking and adding; locks are taken in ascending order, so that no two wait
-- for each other. Each statement of the function sees what was committed before it, hence also before the lock.
CREATE FUNCTION aigw_take(
    take_keys      bytea[],    -- counters, in the order of the charges, as are the next six
    take_slots     bigint[],   -- where each amount is added
    take_firsts    bigint[],   -- the oldest slot that still counts
    take_amounts   bigint[],   -- what is added when every charge fits
    take_needs     bigint[],   -- what must fit
    take_limits    bigint[],   -- the most that the slots may hold together
    take_expiries  bigint[],   -- counters.expires_ms of the slot
    take_locks     integer[],  -- hashes of the keys, ascending
    OUT refused    integer,    -- position of the first charge that did not fit, from 0 on; -1 when all were taken
    OUT oldest     bigint,     -- the refusing counter's oldest slot that holds something
    OUT held       bigint[]    -- what each charge's slots hold, with the amounts when they were taken
) LANGUAGE plpgsql AS $$
DECLARE
    lock   integer;
    total  bigint;
    since  bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOREACH lock IN ARRAY take_locks LOOP
        PERFORM pg_advisory_xact_lock(4201788, lock);
    END LOOP;

    refused := -1;
    oldest := 0;
    held := '{}';
    FOR i IN 1 .. cardinality(take_keys) LOOP
        SELECT coalesce(sum(c.used), 0), coalesce(min(c.slot) FILTER (WHERE c.used > 0), take_slots[i])
            INTO total, since
            FROM counters c
            WHERE c.key = take_keys[i] AND c.slot BETWEEN take_firsts[i] AND take_slots[i];
        held := held || total;
        IF refused < 0 AND total + take_needs[i] > take_limits[i] THEN
            refused := i - 1;
            oldest := since;
        END IF;
    END LOOP;
    IF refused >= 0 THEN
        RETURN;
    END IF;

    -- Rows are written in the order of the key, here and in aigw_settle: no two transactions wait for each other.
    INSERT INTO counters AS c (key, slot, used, expires_ms)
        SELECT t.key, t.slot, t.amount, t.expires_ms
        FROM unnest(take_keys, take_slots, take_amounts, take_expiries) AS t (key, slot, amount, expires_ms)
        ORDER BY t.key, t.slot
        ON CONFLICT (key, slot) DO UPDATE SET used = least(c.used + excluded.used, 9007199254740991);
    FOR i IN 1 .. cardinality(take_keys) LOOP
        held[i] := held[i] + take_amounts[i];
    END LOOP;
END
$$;
COMMENT ON FUNCTION aigw_take IS 'Takes all of some amounts from their counters, or none';

-- Brings amounts to what they really were, once for each batch of a writer. Nothing goes below 0: what a lost table
-- has forgotten is not owed to anybody.
CREATE FUNCTION aigw_settle(
    settle_writer    bytea,     -- counter_writers.writer
    settle_batch     bigint,    -- a number that grows from batch to batch
    settle_keys      bytea[],   -- counters, as are the next three
    settle_slots     bigint[],  -- where the amounts were added
    settle_deltas    bigint[],  -- the difference to the real amounts
    settle_expiries  bigint[]   -- counters.expires_ms of the slots
) RETURNS boolean               -- false when the batch had been applied before
LANGUAGE plpgsql AS $$
DECLARE
    correction  record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO counter_writers AS w (writer, last_batch) VALUES (settle_writer, settle_batch)
        ON CONFLICT (writer) DO UPDATE SET last_batch = excluded.last_batch, applied_at = now()
        WHERE w.last_batch < excluded.last_batch;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR correction IN
        SELECT t.key, t.slot, t.delta, t.expires_ms
        FROM unnest(settle_keys, settle_slots, settle_deltas, settle_expiries) AS t (key, slot, delta, expires_ms)
        ORDER BY t.key, t.slot
    LOOP
        UPDATE counters AS c SET used = greatest(0, least(c.used + correction.delta, 9007199254740991))
            WHERE c.key = correction.key AND c.slot = correction.slot;
        IF NOT FOUND AND correction.delta > 0 THEN
            INSERT INTO counters AS c (key, slot, used, expires_ms)
                VALUES (correction.key, correction.slot, correction.delta, correction.expires_ms)
                ON CONFLICT (key, slot) DO UPDATE SET used = least(c.used + excluded.used, 9007199254740991);
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION aigw_settle IS 'Brings amounts that were taken to what they really were';

-- Unlogged: an answer that a crash has lost is asked for again, and is not worth being written twice.
CREATE UNLOGGED TABLE cached_answers (
    kept_until_ms  bigint NOT NULL,   -- milliseconds since the epoch (UTC) from which on it is not found
    bytes          integer NOT NULL,  -- length of value
    key            bytea PRIMARY KEY, -- 32 bytes, made by whoever asks
    value          bytea NOT NULL     -- the answer, as MessagePack
);
COMMENT ON TABLE cached_answers IS 'Answers that are given again instead of asking a provider';

-- Both what has expired and how much is kept are read from the index alone.
CREATE INDEX cached_answers_expiry ON cached_answers (kept_until_ms, bytes);

-- An answer is often compressed already; trying again would cost each request time.
ALTER TABLE cached_answers ALTER COLUMN value SET STORAGE EXTERNAL;

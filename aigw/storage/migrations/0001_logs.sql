-- Logs, their bodies, what they add up to, and who may call.
--
-- Works on PostgreSQL 14 to 18 without any contrib extension. Wide columns come first and texts last, so that no byte
-- of a log row goes to padding. Names that repeat in every row are integers into `gateways` and `names`; there are no
-- foreign keys from the log tables, because a check for each name of each row would cost more than it could find.

CREATE TABLE gateways (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- what log rows hold
    account  text NOT NULL,                                     -- account's name, as in the address
    name     text NOT NULL,                                     -- gateway's name, as in the address
    UNIQUE (account, name)
);
COMMENT ON TABLE gateways IS 'Every gateway that has ever had a log, by the integer that its rows hold';

CREATE TABLE names (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- what log rows hold; unique over all kinds
    kind  smallint NOT NULL,                                 -- 1 provider, 2 model, 3 path, 4 user agent, 5 token,
                                                             -- 6 request type, 7 content type, 8 model type,
                                                             -- 9 team, 10 person
    name  text NOT NULL,                                     -- as it stood in the record; never empty
    UNIQUE (kind, name)
);
COMMENT ON TABLE names IS 'Texts that repeat from log to log, by the integer that the rows hold';

-- One row for every exchange that is kept. The time of a log is the time in its id (UUIDv7), so there is no other
-- column for it, newest-first is the primary key read backwards, and a month is a range of ids.
CREATE TABLE logs (
    id                     uuid NOT NULL,      -- UUIDv7, made by the gateway; holds created_at
    cost_nanousd           bigint,             -- billionths of a US dollar; NULL when the price is unknown, never 0 for it
    request_bytes          bigint NOT NULL,    -- length of the request body
    response_bytes         bigint NOT NULL,    -- length of the answer's body
    gateway                integer NOT NULL,   -- gateways.id
    provider               integer NOT NULL,   -- names.id, of the step that answered or failed last
    model                  integer,            -- names.id, as asked for; NULL when the request named none
    response_model         integer,            -- names.id (kind 2), as the provider names it; NULL when it told none
    model_type             integer,            -- names.id, such as chat or embeddings; NULL when not known
    path                   integer,            -- names.id, the endpoint below the provider; NULL for the empty path
    token                  integer,            -- names.id, public id of the calling token; NULL when there was none
    team                   integer,            -- names.id, the caller's team; NULL when it has none
    person                 integer,            -- names.id, the user, as the token or an identity provider names it; or NULL
    agent                  integer,            -- names.id, User-Agent; NULL when there was none
    request_type           integer NOT NULL,   -- names.id: websocket, universal, native, unified or realtime
    request_content_type   integer,            -- names.id (kind 7); NULL when there was none
    response_content_type  integer,            -- names.id (kind 7); NULL when there was none
    duration_ms            integer NOT NULL,   -- from the exchange's opening to its end
    first_byte_ms          integer,            -- from the opening to the answer's first body byte; NULL when none came
    tokens_in              integer,            -- input tokens, cached ones included; NULL when neither told nor guessed
    tokens_out             integer,            -- output tokens, reasoning included; NULL as above
    cache_read             integer,            -- the part of tokens_in that the vendor read from its cache; NULL as above
    cache_write            integer,            -- the part of tokens_in that the vendor wrote to its cache; NULL as above
    status                 smallint NOT NULL,  -- HTTP status that the client was told; 0 when it was told none
    error_code             smallint NOT NULL,  -- code of aigw.errors; 0 when all went well
    step                   smallint NOT NULL,  -- index of the step that answered
    attempts               smallint NOT NULL,  -- calls made to providers
    success                boolean NOT NULL,   -- a complete answer with a status below 400 reached the end
    complete               boolean NOT NULL,   -- the provider's answer ended with its own end mark
    cached                 boolean NOT NULL,   -- answered out of the gateway's cache
    authenticated          boolean NOT NULL,   -- a valid token was shown
    custom_cost            boolean NOT NULL,   -- the price came with the request
    usage_estimated        boolean NOT NULL,   -- token counts are a guess from the bytes
    event_id               text,               -- the client's own correlation id; NULL when it gave none
    metadata               jsonb,              -- object given by cf-aig-metadata; NULL when there was none
    PRIMARY KEY (gateway, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE logs IS 'One narrow row for every exchange that is kept; partitioned by month of the id';

-- Three bytes a row answer "where is this rare provider, model, status, token, team or person".
CREATE INDEX logs_rare ON logs USING brin (
    provider int4_bloom_ops, model int4_bloom_ops, token int4_bloom_ops, status int2_bloom_ops,
    team int4_bloom_ops, person int4_bloom_ops
) WITH (pages_per_range = 32, autosummarize = on);

-- A B-tree, though a hash is smaller: clients count their event ids from 1 on every socket, and a hash index walks all
-- equal values on each insert (13 us a row at 40,000 equals, growing with them), while a B-tree folds them.
CREATE INDEX logs_event_id ON logs (event_id) WHERE event_id IS NOT NULL;

-- What a list never reads. Written for every kept log, since attempts and the error's text are here, too.
CREATE TABLE log_bodies (
    id               uuid NOT NULL,           -- logs.id
    gateway          integer NOT NULL,        -- logs.gateway
    request_cut      boolean NOT NULL,        -- the stored request is only the beginning of the real one
    response_cut     boolean NOT NULL,        -- the stored response is only the beginning of the real one
    error            text,                    -- public text of the error; NULL when all went well
    attempts         jsonb NOT NULL,          -- array of {step, provider, model, status, error_code, started_ms,
                                              -- first_byte_ms, duration_ms}, in the order they were made
    session          jsonb,                   -- {turns, messages_in, messages_out, audio_in_ms, audio_out_ms, close_code,
                                              -- closed_by} of a realtime session; NULL for any other exchange
    controls         jsonb,                   -- what the controls did beyond a plain pass, such as {cache, distance,
                                              -- locked}; NULL for nothing
    request          bytea,                   -- zstd frame; NULL when not kept
    response         bytea,                   -- zstd frame; NULL when not kept
    PRIMARY KEY (gateway, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE log_bodies IS 'Request and response bytes and the course of each kept exchange; partitioned as logs';

-- The bytes come compressed; trying again would only cost time.
ALTER TABLE log_bodies ALTER COLUMN request SET STORAGE EXTERNAL;
ALTER TABLE log_bodies ALTER COLUMN response SET STORAGE EXTERNAL;

-- Counts every exchange, also those that left no row, and never decreases. The room in each page lets an update stay
-- on its page and leave the index alone.
CREATE TABLE usage_rollups (
    hour          timestamptz NOT NULL,          -- the hour (UTC) of the ids that are counted
    requests      bigint NOT NULL DEFAULT 0,     -- exchanges
    errors        bigint NOT NULL DEFAULT 0,     -- those without success
    cached        bigint NOT NULL DEFAULT 0,     -- those answered out of the cache
    unpriced      bigint NOT NULL DEFAULT 0,     -- those whose cost is unknown and not in cost_nanousd
    tokens_in     bigint NOT NULL DEFAULT 0,     -- sum
    tokens_out    bigint NOT NULL DEFAULT 0,     -- sum
    cache_read    bigint NOT NULL DEFAULT 0,     -- sum
    cache_write   bigint NOT NULL DEFAULT 0,     -- sum
    cost_nanousd  bigint NOT NULL DEFAULT 0,     -- sum of what is known; room for nine billion dollars
    duration_ms   bigint NOT NULL DEFAULT 0,     -- sum, for a mean
    gateway       integer NOT NULL,              -- gateways.id
    provider      integer NOT NULL,              -- names.id
    model         integer NOT NULL,              -- names.id; 0 when the request named none
    PRIMARY KEY (gateway, hour, provider, model)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage_rollups IS 'What a gateway used in each hour, by provider and model; outlives the logs';

CREATE TABLE live_rows (
    count    bigint NOT NULL,     -- rows of logs that exist now
    gateway  integer PRIMARY KEY  -- gateways.id
) WITH (fillfactor = 50);
COMMENT ON TABLE live_rows IS 'How many logs a gateway has, without counting them';

CREATE TABLE ship_positions (
    spool        uuid PRIMARY KEY,      -- the spool's own id
    segment      bigint NOT NULL,       -- number of the segment being read
    byte_offset  bigint NOT NULL,       -- everything before this offset of the segment is in the tables
    updated_at   timestamptz NOT NULL   -- when the last batch was committed
) WITH (fillfactor = 50);
COMMENT ON TABLE ship_positions IS 'How far each spool has been read; moves in the transaction that writes its rows';

-- Spend counters that live in memory are built anew from these sums. A row for each spool, so that a process can leave
-- out what it has counted itself, and no two processes wait for each other's rows.
CREATE TABLE spend_ledger (
    key         text NOT NULL,         -- of the counter, as the limit names it
    slot        bigint NOT NULL,       -- the counter's stretch of time
    spool       uuid NOT NULL,         -- the spool whose exchanges are summed up
    amount      bigint NOT NULL,       -- billionths of a US dollar
    expires_at  timestamptz NOT NULL,  -- from then on the slot is never asked for again, and the row may go
    PRIMARY KEY (key, slot, spool)
) WITH (fillfactor = 70);
COMMENT ON TABLE spend_ledger IS 'What spend counters were charged; written in the transaction that writes the logs';
CREATE INDEX spend_ledger_expires ON spend_ledger (expires_at);

CREATE TABLE tokens (
    id          text PRIMARY KEY,                    -- public id; this is what logs name
    digest      bytea NOT NULL UNIQUE,               -- SHA-256 of the token; the token itself is kept nowhere
    name        text NOT NULL,                       -- what its owner calls it
    scopes      text[] NOT NULL,                     -- of run, read, edit
    account     text NOT NULL,                       -- the account it may act for
    gateway     text,                                -- the only gateway it may act for; NULL: all of the account
    team        text,                                -- the team that it belongs to; NULL: none
    person      text,                                -- the user who holds it; NULL: nobody in particular
    bounds      jsonb NOT NULL DEFAULT '{}',         -- {models, providers, origins, limits, locked}; what is absent
                                                     -- binds nothing
    created_at  timestamptz NOT NULL DEFAULT now(),  -- when it was made
    expires_at  timestamptz,                         -- refused from then on; NULL: never
    revoked_at  timestamptz                          -- refused from then on; NULL: in force
);
COMMENT ON TABLE tokens IS 'Who may call, by digest';

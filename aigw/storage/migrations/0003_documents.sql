-- What owners declare: gateways, teams, policies. Few, small, changed by hand, and held by every process in memory.

-- One sequence for all, so that no version comes twice, also when a document is deleted and made again.
CREATE SEQUENCE document_versions;

CREATE TABLE documents (
    kind         text NOT NULL,                               -- what it declares, such as gateway
    account      text NOT NULL,                               -- account's name, as in the address
    name         text NOT NULL,                               -- unique among those of its kind and account
    version      bigint NOT NULL DEFAULT nextval('document_versions'),  -- greater after each write
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),        -- first written
    modified_at  timestamptz NOT NULL DEFAULT clock_timestamp(),        -- last written
    document     jsonb NOT NULL,                              -- object; its shape is the business of whoever reads it
    PRIMARY KEY (kind, account, name)
);
COMMENT ON TABLE documents IS 'Declarations by kind, account and name; changes are told on the channel aigw_documents';

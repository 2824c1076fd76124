"""The schema, step by step: `NNNN_name.sql`, applied in order by `aigw.storage.migrate`."""

"""Programs that people already have, unmodified, against a running gateway."""

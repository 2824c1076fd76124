"""The tests of aigw. They mirror `aigw/` file for file; run them with `make test`."""

from contextlib import suppress

# `python -m tests.tally` runs where nothing is installed.
with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # How fast a machine is, and what else it does, is no property of the code.
    settings.register_profile("aigw", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("aigw")

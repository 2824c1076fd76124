"""The tests of aigw. They mirror `aigw/` file for file; run them with `make test`."""

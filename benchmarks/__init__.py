"""What the gateway costs, beside other gateways: `python -m benchmarks`."""

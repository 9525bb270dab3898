"""Engines: where attempts run without a laptop. The keeper (`definition`) keeps one run on machines of EC2."""

"""Runs on this laptop's own Docker engine: no account, no machine, the same container and the same run."""

"""Deterministic simulation: laptops, hosts and AWS in one process, under a virtual clock, by a seed."""

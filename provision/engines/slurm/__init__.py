"""Slurm as an engine: attempts of a run are made by jobs of a cluster that the user has an account at.

All goes through the login node, as the user and with what the user may: nothing is installed there, nothing asks for
root, no password is kept. The run's folder on the shared file system is the state of record; the queue is a hint.
"""

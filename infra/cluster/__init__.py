"""What runs on a Slurm cluster: the door on its login node, the runner in a job. Python 3.6 and its standard library.

The modules import one another alone, and `guard` (infra/host/guard) where they lie beside it in the bundle: nothing of
`provision` or `infra` is there. `provision.engines.slurm.bundle` brings them.
"""

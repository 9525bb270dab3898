"""`python3 BUNDLE/cluster ROOT ORDER`, in a Slurm job: the runner."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.abspath(sys.path[0]))

from cluster.runner import main  # noqa: E402

main(sys.argv[1], sys.argv[2])

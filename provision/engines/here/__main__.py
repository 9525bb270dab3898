"""`python -m provision.engines.here RUN [WHO [ITERATION]]`: the process that sees a run to its end."""

import sys

from provision.engines.here import runner

sys.exit(runner.main(*runner.arguments(sys.argv[1:])))

"""`python -m provision.engines.here RUN [WHO [ITERATION]]`: the process that sees a run to its end.

`python -m provision.engines.here SWEEP sweep`: the one that works on a sweep.
"""

import sys

from provision.engines.here import runner, sweep

if sys.argv[2:] == [sweep.WORD]:
    sys.exit(sweep.main(sys.argv[1]))
sys.exit(runner.main(*runner.arguments(sys.argv[1:])))

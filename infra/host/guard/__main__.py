"""`python3 /opt/provision/guard watch`, or `… pull|push BUCKET REGION ENDPOINT PREFIX FOLDER`.

Run as a folder and not with `-m`, which would look for modules where the caller stands, and run them as root.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.abspath(sys.path[0]))

from guard.copying import copy  # noqa: E402
from guard.watch import Guard  # noqa: E402

if sys.argv[1] == "watch":
    Guard().watch()
else:
    copy(*sys.argv[1:7])

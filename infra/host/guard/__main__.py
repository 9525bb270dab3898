"""`python3 -m guard watch`, or `python3 -m guard pull|push BUCKET REGION ENDPOINT PREFIX FOLDER`."""

import sys

from .copying import copy
from .watch import Guard

if sys.argv[1] == "watch":
    Guard().watch()
else:
    copy(*sys.argv[1:7])

"""`python3 /opt/provision/guard watch`, or `… key` (hostkey.py), `… begin` (begin.py), `… plan|place|stop RUN`
(notes.py), `… pull|push BUCKET REGION ENDPOINT OWNER PREFIX FOLDER [SUM]` (copying.py).

Run as a folder and not with `-m`, which would look for modules where the caller stands, and run them as root.
"""

import json
import os
import sys

sys.path[0] = os.path.dirname(os.path.abspath(sys.path[0]))

from guard import notes, snapshots  # noqa: E402
from guard.copying import copy  # noqa: E402
from guard.watch import Guard  # noqa: E402

word, given = sys.argv[1], sys.argv[2:]
if word == "watch":
    Guard().watch()
elif word == "match":
    for fit in snapshots.fitting(given[0], json.load(sys.stdin)):
        print(json.dumps(fit), flush=True)
elif word == "begin":
    from guard.begin import main

    main()
elif word == "key":
    from guard.hostkey import main

    sys.exit(main())
elif word in ("pull", "push"):
    copy(word, *given)
else:
    notes.verb(word, given[0])

"""matplotlib asks the system for its fonts once, by starting a process: here, before tests may not."""

import matplotlib.font_manager  # noqa: F401

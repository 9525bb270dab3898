"""A training's log as events: progress, divergence, diagnosis, figures. Knows no run and no machine."""

"""Where attempts run, and what keeps a run going without a laptop."""

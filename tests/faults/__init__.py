"""The fault sweep: every AWS call of a command fails, is lost, or is the last that its client lives to make."""

"""Numbers of a training out of the lines of any program: JSON, `key=value`, tables, bars, a user's own expression."""

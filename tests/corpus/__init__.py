"""Material made by rule, with the truth about it known from how it was made."""

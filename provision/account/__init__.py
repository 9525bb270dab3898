"""An account's health: what it allows, what lies in it without an owner."""

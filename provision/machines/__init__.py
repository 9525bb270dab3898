"""Machines from renting to their end: up, find, extend, down, bake."""

"""Planners compute what a recipe's templates need from its options and the number of GPUs."""

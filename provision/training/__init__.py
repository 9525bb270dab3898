"""From a recipe to a training that is seen to its end."""

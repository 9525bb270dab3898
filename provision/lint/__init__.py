"""What is wrong with a net, a solver or data, before a training pays for it."""

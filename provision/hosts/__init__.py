"""What a host has and what is brought to it: facts, GPUs, images, development containers."""

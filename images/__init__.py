"""What an image is and how it is made: matrix and stacks (data), templates, render, build, check."""

"""What is done with a trained net: score, infer, time."""

"""What the tasks set: labels, losses, answers to write, plain functions."""

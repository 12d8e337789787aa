"""Training: the step as a graph, optimizers, schedule, checkpoints and the loop around them."""

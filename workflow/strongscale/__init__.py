"""How should a small data set use more GPUs? Train, measure and compare scaling strategies."""

"""What is trained: samples, losses, and what a task must be for its result not to depend on who computes it."""

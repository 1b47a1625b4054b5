"""New nodules from a trained model, and the check that they are neither copies nor far from the real ones."""

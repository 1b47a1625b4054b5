"""New nodules from a trained model, and the checks that they are neither copies nor far from nodules, and look like them."""

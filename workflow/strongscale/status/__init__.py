"""What is going on in a study, from its files alone."""

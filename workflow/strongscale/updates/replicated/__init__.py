"""What update rules share whose learners hold weights of their own."""

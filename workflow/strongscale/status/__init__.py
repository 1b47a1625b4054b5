"""What is going on in a study: read from its files alone, while it runs or after it died, without a scheduler."""

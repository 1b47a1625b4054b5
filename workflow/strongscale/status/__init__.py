"""What is going on in a study: read from its folder alone, while it runs or after it died, without a scheduler."""

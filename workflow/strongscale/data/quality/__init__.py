"""Pictures and checks by which to judge a data set."""

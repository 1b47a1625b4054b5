"""A run that dies goes on: checkpoints, signals, suspensions, and what is left behind for whoever comes next.

To be used: continuation and checkpoint by training; finished, failure, interrupt by whoever starts or reads a run.
"""

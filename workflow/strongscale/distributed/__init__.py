"""The ranks of a run: what they say to one another, and whether they agree. It alone knows mpi4py and torch.distributed.

To be used: world, replicas.
"""

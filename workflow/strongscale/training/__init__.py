"""A cell from its cell.json to its result.json: the samples, the set-up, the loop, its end and its result.

To be used: run.train, setup.prepare, prepare.resolve, samples.read.
"""

"""A cell from its cell.json to its result.json: the loop, and what one step is made of.

To be used: run.train, setup.prepare, prepare.resolve.
"""

"""The optimizers: one file each, with one subclass of `Optimizer`. To add one, add a file.

Nothing heavy is imported with them, for a login node checks their parameters. To be used: base.Optimizer.
"""

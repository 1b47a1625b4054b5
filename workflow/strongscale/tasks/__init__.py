"""What is trained: data, model and loss together; one file each, with one subclass of `Task`. To add one, add a file.

Nothing heavy is imported with them, for a login node checks their parameters. To be used: base.Task, autoencoding.msle.
"""

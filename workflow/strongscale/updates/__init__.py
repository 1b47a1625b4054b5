"""The update rules: who holds which weights and what is summed; one file each, with one subclass of `Update`.

Nothing heavy is imported with them, for a login node checks their parameters. To be used: base (Update, Step, Message).
"""

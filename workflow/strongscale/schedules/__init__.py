"""The schedules of the learning rate: one file each, with one subclass of `Schedule`. To add one, add a file.

Nothing heavy is imported here, for a login node asks strategies for plans. To be used: base.Schedule.
"""

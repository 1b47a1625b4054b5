"""How masks of nodules are judged: the loss of a sample, the best map that ignores its input, and Dice by nodule."""

EPSILON = 1.0
"""A voxel, added above and below in the soft Dice: an empty mask and an empty answer agree, and no gradient is infinite there."""

"""The U-Net: from an image to a number for each of its voxels, in two or three dimensions. Its layers: network.py."""

"""Voxel-wise adversarial semi-supervised segmentation. Importing this needs no torch."""

__version__ = "0.1.0"

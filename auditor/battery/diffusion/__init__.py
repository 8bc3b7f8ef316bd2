"""Tests of diffusion models, one file each, pure."""

"""Real audits, of the shipped sample, two small image generators and of a training run, shared by the tests of this folder."""

from checkpoints import checkpoints
from sample_audit import bundle, place
from sample_images import class_bundle, class_place, text_bundle, text_place

__all__ = ["bundle", "checkpoints", "class_bundle", "class_place", "place", "text_bundle", "text_place"]

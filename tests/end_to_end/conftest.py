"""Real audits, of the shipped sample and of two small image generators, shared by the tests of this folder."""

from sample_audit import bundle, place
from sample_images import class_bundle, class_place, text_bundle, text_place

__all__ = ["bundle", "class_bundle", "class_place", "place", "text_bundle", "text_place"]

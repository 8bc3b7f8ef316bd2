"""One real audit of the shipped sample, shared by the tests of this folder."""

from sample_audit import bundle, place

__all__ = ["bundle", "place"]

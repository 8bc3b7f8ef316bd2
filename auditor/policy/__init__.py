"""Reads policies and clause catalogues, and says with file and line what is wrong with them."""

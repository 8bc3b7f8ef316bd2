"""Canaries before there is a model: made, committed to, planted, and counted again in what will be trained on."""

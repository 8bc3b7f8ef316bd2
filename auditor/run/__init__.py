"""Makes the observations of a plan, and measures the tests from them."""

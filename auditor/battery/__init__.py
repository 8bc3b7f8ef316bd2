"""The built-in tests: pure, one module each, found through entry points like anyone's."""

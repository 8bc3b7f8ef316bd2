"""The leak guard: looks for runs of restricted text and for restricted pictures in what is to be shared."""

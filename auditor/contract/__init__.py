"""What a test, an observer and an adapter agree on."""

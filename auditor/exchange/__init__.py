"""Evidence in the forms that other tools read, and what other tools found; blind to the other stages."""

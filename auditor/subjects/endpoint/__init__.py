"""Models behind a server of the OpenAI interface: what is sent, what may be spent, what is kept, how answers are read."""

"""What is audited: capability protocols, loading, digests, records."""

"""The evidence store: folders and one rename, Parquet shards, digests and Merkle roots."""

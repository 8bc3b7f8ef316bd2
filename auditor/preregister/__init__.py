"""What is committed before any score exists, what differed from it, and how often it was tried."""

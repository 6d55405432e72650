"""What a sampled field says: convexity, topology, uncertainty, steps. It needs neither a model nor torch."""

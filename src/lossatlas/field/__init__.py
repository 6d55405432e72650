"""What a sampled field says: convexity, topology, uncertainty, steps. No model and no torch."""

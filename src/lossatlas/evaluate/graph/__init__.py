"""How is a traced graph evaluated at many points at once? Traced, rewritten, cut into stages, run."""

"""How a traced graph is evaluated at many points at once: traced, rewritten, cut into stages, run."""

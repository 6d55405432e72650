"""How many points, and how fast: samplers that choose, evaluators that compute, and the loop between them."""

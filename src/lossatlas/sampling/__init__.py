"""How many points, and how fast? Samplers that choose, evaluators that compute, and the loop between them."""

"""Where in parameter space: filters, directions, and charts that turn coordinates into parameters."""

"""Which way a training run went: recorded, read back, and drawn in its principal plane."""

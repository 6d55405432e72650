"""What a sampled field means: numbers from a Landscape alone, without the model."""

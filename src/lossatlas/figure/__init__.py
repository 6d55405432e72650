"""The vocabulary of a picture: ranges, palettes, words, plots, overlays. No torch."""

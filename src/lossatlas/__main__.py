"""``python -m lossatlas``: the command line."""

from lossatlas.start import main

main()

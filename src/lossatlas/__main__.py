"""``python -m lossatlas``: the command line."""

from lossatlas.start import main

if __name__ == "__main__":  # a worker of mpi4py.futures or multiprocessing runs this file again, under another name
    main()

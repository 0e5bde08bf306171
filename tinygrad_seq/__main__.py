"""`python -m tinygrad_seq` is the command line, where no `tinygrad-seq` is on the PATH."""

from .cli import main

main()

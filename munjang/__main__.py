"""`python -m munjang` is the command `munjang`."""

from munjang.cli.app import main

main()

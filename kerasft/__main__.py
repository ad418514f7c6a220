"""`python -m kerasft`: the same as the `kerasft` command."""

from kerasft.cli import main

if __name__ == "__main__":
    main()

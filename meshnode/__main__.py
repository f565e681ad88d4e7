"""`python -m meshnode` is the command line."""

from meshnode.cli.main import main

if __name__ == "__main__":
    main()

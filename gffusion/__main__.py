"""`python -m gffusion`, as launchers start the command."""

from gffusion.cli import main

if __name__ == "__main__":
    main()

"""Run the command as `python -m gffusion`, which launchers need."""

from gffusion.cli import main

if __name__ == "__main__":
    main()

"""Run the command as `python -m gffusion`, as launchers such as `accelerate launch -m` do."""

from gffusion.cli import main

if __name__ == "__main__":
    main()

"""`python -m btp` is the command `btp`."""

from btp.commands.entry import main

if __name__ == "__main__":
    main()

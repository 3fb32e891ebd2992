"""`python -m nsqlite`: the command, where it is not on the path."""

from nsqlite.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

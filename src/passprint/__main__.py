"""``python -m passprint``: the command line where the ``passprint`` script is not on the path."""

from passprint.cli import main

if __name__ == "__main__":
    main()

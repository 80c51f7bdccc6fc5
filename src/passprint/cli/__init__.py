"""The command line, ``passprint …``. A command imports what it needs when it runs."""

from __future__ import annotations


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its status."""
    from passprint.cli.app import run

    raise SystemExit(run())

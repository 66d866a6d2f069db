"""``python -m urial_core.cli`` is ``urial``."""

from urial_core.cli.entry import main

__all__: list[str] = []

if __name__ == "__main__":
    main()

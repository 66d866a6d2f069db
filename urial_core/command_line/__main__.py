"""``python -m urial_core.command_line`` is ``urial``."""

from urial_core.command_line.entry import main

__all__: list[str] = []

if __name__ == "__main__":
    main()

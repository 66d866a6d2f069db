"""The command ``urial``: chat with a base model at a terminal or in a pipe.

``__main__`` sets up the environment and starts ``app``, which holds the commands and the handling
of errors.
"""

__all__: list[str] = []

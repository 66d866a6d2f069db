"""The command ``urial``: a chat with a base model, in the terminal or in a pipe."""

__all__: list[str] = []

"""Analysis: what a prompt, a method or tuning does to a model, measured and shown in a report."""

__all__: list[str] = []

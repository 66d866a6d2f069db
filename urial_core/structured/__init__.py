"""JSON that matches a schema: checked, constrained, repaired, closed."""

__all__: list[str] = []

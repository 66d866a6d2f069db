"""JSON that matches a schema: checked, constrained, repaired, closed."""

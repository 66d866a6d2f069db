"""Backends: engines that complete prompts. Each module or package is one kind of engine."""

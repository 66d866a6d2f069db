"""Backends: engines that complete pages. Each folder or module here is one kind of engine."""

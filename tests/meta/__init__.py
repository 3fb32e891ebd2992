"""The rules of the house, as tests: lint, types, imports, documents, shape."""

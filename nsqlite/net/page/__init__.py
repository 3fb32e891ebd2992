"""The page for people: one document, the figures it shows, and what they were in the last minutes."""

"""A model's Markdown, made harmless."""

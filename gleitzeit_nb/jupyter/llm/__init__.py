"""What a `%%llm` cell is made of, and the subcommands of `%llm`. The magic itself is `llm_magic`, above."""

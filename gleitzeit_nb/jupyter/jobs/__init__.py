"""Work that goes on while other cells run: `--bg` and `%llm jobs`. Built on `llm` and `sandbox`."""

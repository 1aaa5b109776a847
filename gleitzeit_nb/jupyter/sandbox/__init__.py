"""What a `%%sandbox` cell is made of, and `%gleitzeit sandbox`. The magic itself is `sandbox_magic`, above."""

"""The line to front ends: what they may say, what is done about it, and what they are shown."""

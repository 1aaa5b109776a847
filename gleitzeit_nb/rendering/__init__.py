"""What a snapshot says, in words and as tables of text: shared by the command line and the notebook."""

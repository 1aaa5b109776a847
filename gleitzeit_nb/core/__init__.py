"""Pure decisions and the values they are made of: no clock, no I/O, no environment. Time and chance come in as arguments."""

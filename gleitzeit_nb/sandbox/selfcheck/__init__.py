"""What the sandbox promises, as checks that anybody can run on a mode of their own: `gleitzeit-nb selfcheck`.

Each module of checks is one area. A check says what is promised, who promises it, what it tries, what it expects, which line of
docs/security.md it proves, and the one weakening (see `weakenings`) that turns it red. Every bomb is bounded, so that even an
unprotected machine survives it.
"""

"""What holds a guest that is a process of this machine: namespaces, landlock, seccomp, limits. `restricted` decides, `local` uses none.

`confinement` says what can be had, `entry` runs outside the jail and `preamble` inside it, both as source in fresh interpreters.
"""

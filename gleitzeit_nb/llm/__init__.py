"""The pool of Ollama servers: everything that speaks to them, around the decisions in `core`.

`pool` is the face. `journey` is one request's way: it waits in `dispatch`, asks over `ollama` (the wire), reads with `answers`, and
ends with a reply or one of `outcomes`. `membership` and `health` keep the instances, `journal` tells what happened.
"""

# The sandbox's image: a slim Python and nothing else. The guest arrives over its standard input, and every writable directory is the
# container's own. `gleitzeit-nb images build --pull` fetches the base and builds this; by hand:
#   docker build --network none -f sandbox.Dockerfile -t gleitzeit/sandbox .
# Any base with Python 3.8 or newer serves: --build-arg BASE=…
ARG BASE=python:3.13-slim-bookworm@sha256:2325bb286ec344af3e5898cc224b5844e2707ac6e26b1632516fd3edc84a5e26
FROM ${BASE}
USER 0:0
# no_new_privs makes set-uid programs harmless; not having them is better still.
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
USER 65534:65534
WORKDIR /work
ENTRYPOINT []
CMD ["python3"]
LABEL gleitzeit.image.kind=sandbox

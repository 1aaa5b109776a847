# numpy, pandas and matplotlib on top of the sandbox's image. Nothing is fetched while it is built: the wheels come with the context, and pip
# takes only those whose sha256 stands in datascience.txt. `gleitzeit-nb images build datascience` does all of it; by hand, with the base's
# own version of Python:
#   pip download --only-binary :all: --require-hashes -d wheels -r datascience.txt -r pip.txt
#   docker build --network none -f datascience.Dockerfile -t gleitzeit/datascience .
# Any base with Python 3.11 to 3.14 and glibc serves: --build-arg BASE=…
ARG BASE=gleitzeit/sandbox:latest
FROM ${BASE} AS installed
LABEL gleitzeit.image.stage=installed
USER 0:0
COPY wheels /wheels
COPY datascience.txt /wheels/
RUN python3 -I "$(echo /wheels/pip-*.whl)/pip" install --root /installed --no-index --find-links /wheels --only-binary :all: --require-hashes \
        --no-cache-dir --break-system-packages --root-user-action ignore -r /wheels/datascience.txt \
    # The packages' own tests are a quarter of their size, and nothing imports them.
    && find /installed -type d -name tests -path '*-packages/*' -prune -exec rm -r {} +

FROM ${BASE}
COPY --from=installed /installed /
# Figures are drawn into files: there is no screen.
ENV MPLBACKEND=Agg
USER 65534:65534
WORKDIR /work
ENTRYPOINT []
CMD ["python3"]
LABEL gleitzeit.image.kind=datascience gleitzeit.image.preload=numpy,pandas,matplotlib.pyplot

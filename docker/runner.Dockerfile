# For screening and for the machines of a Dask cluster, without TensorFlow. At the top of the repository:
#
#     docker build --file docker/runner.Dockerfile --tag screening-runner .

# For a release, also pin the digest: --build-arg PYTHON=python:3.11.15-slim-bookworm@sha256:...
ARG PYTHON=python:3.11.15-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY . .
# Only wheels, so no compiler is needed. The packages' own tests, a sixth of their size, are removed.
# Bytecode is unchecked: a read-only image cannot rewrite it, and without bytecode it starts slowly.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --constraint docker/constraints.txt ".[postgres,cluster]" \
    && find /venv -type d -name tests -prune -exec rm -r {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /venv

FROM ${PYTHON}
LABEL org.opencontainers.image.title="screening-runner" \
      org.opencontainers.image.description="Reads folders of chest films. Research software: not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE NOTICE /licenses/
COPY --from=build /venv /venv
# Other users (--user 12345) are in the group root, so they can also write here.
RUN install --directory --owner=10001 --group=0 --mode=0770 /reports /state
# Without --out a report is written to ./reports, which is /reports here.
WORKDIR /
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/state
USER 10001:10001
# /state contains the queue and the patient key, which is a secret.
VOLUME ["/reports", "/state"]
# The worker finishes the films in progress and returns its job to the queue.
STOPSIGNAL SIGTERM
# Healthy if the queue opens and the report folder is writable. The output does not show the content of
# the queue. The check waits 30 s for a locked queue.
HEALTHCHECK --interval=60s --timeout=40s --start-period=30s \
    CMD ["sh", "-c", "test -w /reports && screening jobs list > /dev/null"]
ENTRYPOINT ["screening"]
CMD ["worker"]

# What the nights need, and the machines of a Dask cluster, without TensorFlow. From the top of the repository:
#
#     docker build --file docker/runner.Dockerfile --tag screening-runner .

# A release pins the digest, too: --build-arg PYTHON=python:3.11.15-slim-bookworm@sha256:...
ARG PYTHON=python:3.11.15-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY . .
# Wheels only: no compiler is needed. Packages' own tests are a sixth of their size. Bytecode is not
# held against its source: a read-only image cannot renew it, and starts slowly without.
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
# Any other user (--user 12345) is of the group root, and may write here, too.
RUN install --directory --owner=10001 --group=0 --mode=0770 /reports /state
# Without --out a report goes to ./reports, which is /reports here.
WORKDIR /
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/state
USER 10001:10001
# /state holds the queue and the patient key, which is a secret.
VOLUME ["/reports", "/state"]
# The worker finishes the films in hand and gives its job back to the queue.
STOPSIGNAL SIGTERM
# The queue opens and a report could be written; what is in the queue is not repeated to everybody.
# A locked queue is waited for, 30 s.
HEALTHCHECK --interval=60s --timeout=40s --start-period=30s \
    CMD ["sh", "-c", "test -w /reports && screening jobs list > /dev/null"]
ENTRYPOINT ["screening"]
CMD ["worker"]

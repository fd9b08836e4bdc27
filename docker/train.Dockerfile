# For training and exporting, with TensorFlow. At the top of the repository:
#
#     docker build --file docker/train.Dockerfile --tag screening-train .

# For a release, also pin the digest: --build-arg PYTHON=python:3.11.15-slim-bookworm@sha256:...
ARG PYTHON=python:3.11.15-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY . .
# As in runner.Dockerfile; TensorFlow's headers are removed, too.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --constraint docker/constraints.txt ".[train]" \
    && find /venv -type d \( -name tests -o -path "*/tensorflow/include" \) -prune -exec rm -r {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /venv

FROM ${PYTHON}
LABEL org.opencontainers.image.title="screening-train" \
      org.opencontainers.image.description="Trains on chest films, and exports bundles. Research software: not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE NOTICE /licenses/
COPY --from=build /venv /venv
# Other users (--user 12345) are in the group root, so they can also write here.
RUN install --directory --owner=10001 --group=0 --mode=0770 /models
WORKDIR /models
# Matplotlib and Keras keep caches in the home folder, which is temporary here.
ENV HOME=/tmp \
    PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME ["/models"]
# Like Ctrl-C: the same command continues after the last complete epoch.
STOPSIGNAL SIGINT
ENTRYPOINT ["screening"]
CMD ["train", "--help"]

# A bundle and the packages that its program needs, without TensorFlow. At the top of the repository:
#
#     docker buildx build --platform linux/amd64,linux/arm64 --file docker/edge.Dockerfile \
#         --tag screening-edge .
#
# To use your own bundle, add --build-context bundle=BUNDLE. A bundle with a TFLite model can also be
# mounted over this one at run time: --volume BUNDLE:/bundle:ro.

# For a release, also pin the digest: --build-arg PYTHON=python:3.11.15-slim-bookworm@sha256:...
ARG PYTHON=python:3.11.15-slim-bookworm

FROM scratch AS bundle
COPY exports/shipped /

FROM ${PYTHON} AS build
WORKDIR /build
COPY docker/constraints.txt .
COPY --from=bundle / bundle
# As in runner.Dockerfile. The files of a bundle may be readable only by their owner.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --constraint constraints.txt --requirement bundle/requirements.txt \
    && find /venv -type d -name tests -prune -exec rm -r {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /venv \
    && chmod -R a+rX bundle

FROM ${PYTHON}
LABEL org.opencontainers.image.title="screening-edge" \
      org.opencontainers.image.description="Reads chest films on a small device. Research software: not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE NOTICE /licenses/
COPY --from=build /venv /venv
COPY --from=build /build/bundle /bundle
# Other users (--user 12345) are in the group root, so they can also write here.
RUN install --directory --owner=10001 --group=0 --mode=0770 /reports /state
WORKDIR /reports
# The patient key, a secret, is created in the home folder.
ENV HOME=/state \
    PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME ["/reports", "/state"]
# Like Ctrl-C: the same command continues from the last film; a watch writes its report.
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "/bundle/screen.pyz"]
CMD ["selftest"]

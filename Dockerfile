# One image for every command. Python is of the version that the locks were made and tested with.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# What changes seldom comes first: these layers are made anew only with the locks.
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /build && /build/bin/pip install --quiet --require-hashes --requirement requirements-build.lock
RUN python -m venv /opt/callgate \
    && /opt/callgate/bin/pip install --quiet --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY services services
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/callgate/bin/pip install --quiet --no-deps --no-index /wheel/*.whl \
    # Compiled here, as nobody can write to it later; and nothing installs anything later.
    && /opt/callgate/bin/python -m compileall -q /opt/callgate \
    && /opt/callgate/bin/pip uninstall --quiet --yes setuptools pip

FROM python:${PYTHON}
ENV PATH=/opt/callgate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CALLGATE_TELEMETRY_PORT=9464
COPY --from=build /opt/callgate /opt/callgate
# A volume that is mounted here takes its owner from this folder. The rest of the file system may be read-only.
RUN install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/callgate
WORKDIR /var/lib/callgate
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 9464
# Ready: it has joined its group, and log and BIGHUB can be used. Of use for `run`; other commands serve no probes.
HEALTHCHECK --interval=10s --timeout=15s --start-period=30s --retries=3 CMD ["callgate", "health"]
ENTRYPOINT ["callgate"]
CMD ["--help"]

# Two images from one file. Every step is a script under scripts/docker/ that runs without a container too.
#   docker build --target cpu -t gaitstream:cpu .
#   docker build --target gpu -t gaitstream:gpu .

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:13.2.0-devel-ubuntu24.04
ARG DEEPSTREAM_IMAGE=nvcr.io/nvidia/deepstream:9.1-triton-multiarch

# --- the wheel -------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY . .
RUN scripts/docker/install-system.sh build && scripts/docker/build-wheel.sh /wheels

# --- native code for the GPU: kernels for every architecture, pycuda against this CUDA ----------------
FROM ${CUDA_IMAGE} AS native
WORKDIR /src
COPY . .
RUN scripts/docker/install-system.sh build && scripts/docker/build-native.sh /native

# --- CPU image ---------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS cpu
COPY scripts/docker /src/scripts/docker
RUN /src/scripts/docker/install-system.sh cpu
COPY constraints.txt /src/
COPY --from=wheel /wheels /wheels
RUN /src/scripts/docker/install.sh /wheels /opt/gaitstream cpu && rm -rf /wheels \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream
ENV PATH=/opt/gaitstream/bin:$PATH PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/var/lib/gaitstream/cache
USER gaitstream
WORKDIR /var/lib/gaitstream
VOLUME /var/lib/gaitstream
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/src/scripts/docker/healthcheck.py"]
ENTRYPOINT ["tini", "--", "gaitstream"]
CMD ["--help"]

# --- GPU image: DeepStream 9.1 with TensorRT 10.16 inside -----------------------------------------------
FROM ${DEEPSTREAM_IMAGE} AS gpu
COPY scripts/docker /src/scripts/docker
RUN /src/scripts/docker/install-system.sh gpu
COPY constraints.txt /src/
COPY --from=wheel /wheels /wheels
COPY --from=native /native/wheels /wheels
COPY --from=native /native/lib /opt/gaitstream-native
RUN /src/scripts/docker/install.sh /wheels /opt/gaitstream gpu && rm -rf /wheels \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream
ENV PATH=/opt/gaitstream/bin:$PATH PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/var/lib/gaitstream/cache \
    GAITSTREAM_NATIVE=/opt/gaitstream-native
USER gaitstream
WORKDIR /var/lib/gaitstream
VOLUME /var/lib/gaitstream
HEALTHCHECK --interval=30s --timeout=5s --start-period=900s --retries=3 \
    CMD ["/src/scripts/docker/healthcheck.py"]
ENTRYPOINT ["tini", "--", "gaitstream"]
CMD ["--help"]

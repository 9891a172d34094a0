# Two images from one file. Every step is a script under scripts/docker/ that runs without a container too.
#   docker build --target cpu -t gaitstream:cpu .
#   docker build --target gpu -t gaitstream:gpu .

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:13.2.0-devel-ubuntu24.04
ARG DEEPSTREAM_IMAGE=nvcr.io/nvidia/deepstream:9.1-triton-multiarch

# --- the wheel for CPUs ------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel-cpu
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY . .
RUN scripts/docker/build-kernels.sh cpu && scripts/docker/build-wheel.sh /wheels

# --- the wheel for GPUs: with kernels for every architecture, and pycuda built against this CUDA ---------
FROM ${CUDA_IMAGE} AS wheel-gpu
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY . .
RUN scripts/docker/build-kernels.sh gpu && scripts/docker/build-wheel.sh /wheels pycuda

# --- the detector parser and the TensorRT plugin, against DeepStream's own headers -----------------------
FROM ${DEEPSTREAM_IMAGE} AS parser
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY . .
RUN scripts/docker/build-parser.sh /native

# --- CPU image ---------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS cpu
WORKDIR /src
COPY scripts/docker scripts/docker
RUN scripts/docker/install-system.sh cpu
COPY constraints.txt .
RUN --mount=from=wheel-cpu,source=/wheels,target=/wheels scripts/docker/install.sh /wheels /opt/gaitstream cpu \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream
ENV PATH=/opt/gaitstream/bin:$PATH PYTHONUNBUFFERED=1 GAITSTREAM_CACHE=/var/lib/gaitstream/cache
USER gaitstream
WORKDIR /var/lib/gaitstream
VOLUME /var/lib/gaitstream
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "/src/scripts/docker/healthcheck.py"]
ENTRYPOINT ["tini", "--", "gaitstream"]
CMD ["--help"]

# --- GPU image: DeepStream 9.1 with TensorRT 10.16 inside -----------------------------------------------
FROM ${DEEPSTREAM_IMAGE} AS gpu
WORKDIR /src
COPY scripts/docker scripts/docker
RUN scripts/docker/install-system.sh gpu
COPY constraints.txt .
COPY --from=parser /native /opt/gaitstream-native
RUN --mount=from=wheel-gpu,source=/wheels,target=/wheels scripts/docker/install.sh /wheels /opt/gaitstream gpu \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream
ENV PATH=/opt/gaitstream/bin:$PATH PYTHONUNBUFFERED=1 GAITSTREAM_CACHE=/var/lib/gaitstream/cache \
    GAITSTREAM_NATIVE=/opt/gaitstream-native
USER gaitstream
WORKDIR /var/lib/gaitstream
VOLUME /var/lib/gaitstream
# Engines are compiled at the first start, into the volume.
HEALTHCHECK --interval=30s --timeout=5s --start-period=900s --retries=3 \
    CMD ["python3", "/src/scripts/docker/healthcheck.py"]
ENTRYPOINT ["tini", "--", "gaitstream"]
CMD ["--help"]

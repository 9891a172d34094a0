# Two images from one file, and one that proves the second on a GPU. Every step is a script under scripts/docker/
# that runs without a container too.
#   docker build --target cpu -t gaitstream:cpu .
#   docker build --target gpu -t gaitstream:gpu .
#   docker build --target verify -t gaitstream:verify . && docker run --rm --gpus all gaitstream:verify

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:13.2.0-devel-ubuntu24.04
# The samples image has TensorRT 10.16 with its headers and its Python module; triton's is based on another image.
ARG DEEPSTREAM_IMAGE=nvcr.io/nvidia/deepstream:9.1-samples-multiarch

# --- the wheel for CPUs ------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel-cpu
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY . .
RUN GAITSTREAM_WHEEL_KERNELS=cpu scripts/docker/build-wheel.sh /wheels

# --- the wheel for GPUs: with kernels for every architecture, and pycuda built against this CUDA ---------
FROM ${CUDA_IMAGE} AS wheel-gpu
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY . .
RUN GAITSTREAM_WHEEL_KERNELS=cpu,fatbin scripts/docker/build-wheel.sh /wheels pycuda

# --- the detector parser and the TensorRT plugin: nvcc of the CUDA image, headers of the DeepStream image -------
FROM ${DEEPSTREAM_IMAGE} AS deepstream

FROM ${CUDA_IMAGE} AS native
WORKDIR /src
COPY scripts/docker/install-system.sh scripts/docker/
RUN scripts/docker/install-system.sh build
COPY --from=deepstream /opt/nvidia/deepstream/deepstream/sources/includes /opt/deepstream/includes
COPY --from=deepstream /usr/include/*-linux-gnu/NvInfer*.h /usr/include/*-linux-gnu/NvOnnx*.h /opt/tensorrt/include/
COPY --from=deepstream /usr/lib/*-linux-gnu/libnvinfer.so* /opt/tensorrt/lib/
COPY . .
RUN DEEPSTREAM_INCLUDE=/opt/deepstream/includes TENSORRT_INCLUDE=/opt/tensorrt/include \
    TENSORRT_LIB=/opt/tensorrt/lib scripts/docker/build-parser.sh /native all

# --- CPU image ---------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS cpu
WORKDIR /src
COPY scripts/docker scripts/docker
RUN scripts/docker/install-system.sh cpu
COPY constraints.txt .
RUN --mount=from=wheel-cpu,source=/wheels,target=/wheels scripts/docker/install.sh /wheels /opt/gaitstream cpu \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream \
    && install -d -o gaitstream -g gaitstream /var/lib/gaitstream/cache
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
RUN scripts/docker/fix-rtsp.sh
COPY constraints.txt .
COPY --from=native /native /opt/gaitstream-native
RUN --mount=from=wheel-gpu,source=/wheels,target=/wheels scripts/docker/install.sh /wheels /opt/gaitstream gpu \
    && useradd --system --create-home --home-dir /var/lib/gaitstream --uid 10001 gaitstream \
    && install -d -o gaitstream -g gaitstream /var/lib/gaitstream/cache
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

# --- the GPU image with what tests it; the package is the image's own, no source of it lies beside ----------------
FROM gpu AS verify
USER root
WORKDIR /verify
COPY constraints.txt pyproject.toml ./
COPY scripts scripts
COPY tests tests
RUN scripts/docker/install-system.sh verify && scripts/docker/install-verify.sh /opt/gaitstream
ENTRYPOINT ["scripts/verify-gpu.sh"]
CMD []

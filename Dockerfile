# Two images from one file:
#   docker build --target cpu -t tokenfate:cpu .
#   docker build --target gpu -t tokenfate:gpu .
# Run:  docker run -p 8080:8080 -v tokenfate:/data tokenfate:cpu
# Inside, the service listens on every address of the container, so authentication
# is on: the first start prints the admin's token once (docker logs).
# The bases are arguments so that a site can name its own mirror of them.
ARG CPU_BASE=docker.io/library/debian:12
ARG GPU_BASE=docker.io/nvidia/cuda:12.6.3-runtime-ubuntu22.04

FROM ${CPU_BASE} AS build
WORKDIR /src
COPY . .
RUN config/deps.sh build && make -j"$(nproc)" programs && make install DESTDIR=/out PREFIX=/usr

FROM ${CPU_BASE} AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libmicrohttpd12 \
      libjansson4 libsqlite3-0 libuuid1 libpcre2-8-0 libdnnl2 libgomp1 libcurl4 libsodium23 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin tokenfate \
 && install -d -o tokenfate /data
COPY --from=build /out/ /
USER tokenfate
VOLUME /data
EXPOSE 8080
ENV TOKENFATE_DATA=/data TOKENFATE_LISTEN=0.0.0.0:8080 TOKENFATE_CORPUS_PATH=/data/texts
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD curl -fsS http://127.0.0.1:8080/healthz
ENTRYPOINT ["tokenfate"]
CMD ["serve"]

# The GPU image is the CPU image with the CUDA run-time libraries of a base image that
# carries cudart and cuBLASLt: one userland, tested once. The driver comes from the
# host (--gpus all). The build stage has no nvcc, so the CUDA backend itself is not in it.
FROM ${GPU_BASE} AS cuda
FROM cpu AS gpu
USER root
COPY --from=cuda /usr/local/cuda/lib64/libcudart.so.* /usr/local/cuda/lib64/libcublasLt.so.* /usr/local/cuda/lib64/
RUN echo /usr/local/cuda/lib64 > /etc/ld.so.conf.d/cuda.conf && ldconfig
USER tokenfate
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

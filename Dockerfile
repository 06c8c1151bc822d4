# Two images from one file:
#   docker build --target cpu -t tokenfate:cpu .
#   docker build --target gpu -t tokenfate:gpu .
# Run:  docker run -p 8080:8080 -v tokenfate:/data tokenfate:cpu
# Inside, the service listens on every address of the container, so authentication
# is on: the first start prints the admin's token once (docker logs).
# The bases are arguments so that a site can name its own mirror of them.
ARG CPU_BASE=docker.io/library/debian:12
ARG CUDA_BASE=docker.io/nvidia/cuda:13.0.1-devel-ubuntu22.04

FROM ${CPU_BASE} AS build
WORKDIR /src
COPY . .
RUN config/deps.sh build && make -j"$(nproc)" programs && make install DESTDIR=/out PREFIX=/usr

FROM ${CPU_BASE} AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libmicrohttpd12 \
      libjansson4 libsqlite3-0 libuuid1 libpcre2-8-0 libdnnl2 libgomp1 libcurl4 libsodium23 libutf8proc2 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin tokenfate \
 && install -d -m 700 -o tokenfate /data
COPY --from=build /out/ /
USER tokenfate
VOLUME /data
EXPOSE 8080
ENV TOKENFATE_DATA=/data TOKENFATE_LISTEN=0.0.0.0:8080 TOKENFATE_CORPUS_PATH=/data/texts
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD curl -fsS http://127.0.0.1:8080/healthz
ENTRYPOINT ["tokenfate"]
CMD ["serve"]

# The GPU image is the CPU image, one userland tested once, with the CUDA backend and
# the library that it was linked with. Both come from one base, an image with nvcc
# (gcc and make beside it) whose glibc is not newer than the CPU image's: the two
# cannot be of different versions. The driver comes from the host (--gpus all). The
# backend must be of the trainer's build, and nothing that it loads may be missing.
FROM ${CUDA_BASE} AS cuda
ARG CUDA_ARCHS
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" ${CUDA_ARCHS:+CUDA_ARCHS="$(echo $CUDA_ARCHS | tr , ' ')"} build/libtokenfate-cuda.so
RUN mkdir -p /out/usr/bin /out/usr/local/cuda/lib64 && cp build/libtokenfate-cuda.so /out/usr/bin \
 && cp -L "$(LD_LIBRARY_PATH=/usr/local/cuda/lib64 ldd build/libtokenfate-cuda.so | awk '/libcublasLt/ {print $3}')" /out/usr/local/cuda/lib64

FROM cpu AS gpu
USER root
COPY --from=cuda /out/ /
RUN echo /usr/local/cuda/lib64 > /etc/ld.so.conf.d/cuda.conf && ldconfig \
 && ! ldd /usr/bin/libtokenfate-cuda.so | grep 'not found' \
 && grep -qaF "$(tokenfate-trainer --version)" /usr/bin/libtokenfate-cuda.so
USER tokenfate
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# Two images from one file:
#   docker build --target cpu -t tokenfate:cpu .
#   docker build --target gpu -t tokenfate:gpu .
# Run:  docker run -p 8080:8080 -v tokenfate:/data tokenfate:cpu
# Inside, the service listens on every address of the container, so authentication
# is on: the first start prints the admin's token once (docker logs).
# The bases are arguments so that a site can name its own mirror of them.
ARG CPU_BASE=docker.io/library/debian:12
ARG GPU_BUILD_BASE=docker.io/nvidia/cuda:12.6.3-devel-ubuntu22.04
ARG GPU_BASE=docker.io/nvidia/cuda:12.6.3-runtime-ubuntu22.04

FROM ${CPU_BASE} AS build-cpu
WORKDIR /src
COPY . .
RUN config/deps.sh build && make -j"$(nproc)" programs && make install DESTDIR=/out PREFIX=/usr

FROM ${CPU_BASE} AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libmicrohttpd12 \
      libjansson4 libsqlite3-0 libuuid1 libpcre2-8-0 libdnnl2 libgomp1 libcurl4 libsodium23 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data tokenfate && install -d -o tokenfate /data
COPY --from=build-cpu /out/ /
USER tokenfate
VOLUME /data
EXPOSE 8080
ENV TOKENFATE_DATA=/data TOKENFATE_LISTEN=0.0.0.0:8080 TOKENFATE_CORPUS_PATH=/data/texts
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD curl -fsS http://127.0.0.1:8080/healthz
ENTRYPOINT ["tokenfate"]
CMD ["serve"]

# The GPU base carries cudart and cuBLASLt; its distribution is Ubuntu 22.04, so the
# programs are built there too.
FROM ${GPU_BUILD_BASE} AS build-gpu
WORKDIR /src
COPY . .
RUN config/deps.sh build && make -j"$(nproc)" programs && make install DESTDIR=/out PREFIX=/usr

FROM ${GPU_BASE} AS gpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libmicrohttpd12 \
      libjansson4 libsqlite3-0 libuuid1 libpcre2-8-0 libdnnl2 libgomp1 libcurl4 libsodium23 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data tokenfate && install -d -o tokenfate /data
COPY --from=build-gpu /out/ /
USER tokenfate
VOLUME /data
EXPOSE 8080
ENV TOKENFATE_DATA=/data TOKENFATE_LISTEN=0.0.0.0:8080 TOKENFATE_CORPUS_PATH=/data/texts
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD curl -fsS http://127.0.0.1:8080/healthz
ENTRYPOINT ["tokenfate"]
CMD ["serve"]

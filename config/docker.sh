#!/bin/sh
# docker: build the container images `cpu` and, with IMAGES="cpu gpu", `gpu`, with
# Docker if an engine runs, else with buildah, which needs none. CPU_BASE and
# CUDA_BASE name other base images (a mirror, or one imported from a debootstrap
# root); CUDA_ARCHS, if set, the architectures that the backend is built for.
set -eu
cd "$(dirname "$0")/.."
arguments=
for base in CPU_BASE CUDA_BASE CUDA_ARCHS; do
    eval "value=\${$base:-}"
    [ -z "$value" ] || arguments="$arguments --build-arg $base=$(echo "$value" | tr ' ' ,)"
done
if docker info >/dev/null 2>&1; then
    build="docker build"
elif command -v buildah >/dev/null; then
    build="buildah bud --format docker --isolation chroot"
else
    echo "neither a Docker engine that runs nor buildah; run:  sudo apt-get install -y buildah" >&2
    exit 1
fi
for target in ${IMAGES:-cpu}; do
    # shellcheck disable=SC2086
    $build $arguments --target "$target" -t "tokenfate:$target" .
done

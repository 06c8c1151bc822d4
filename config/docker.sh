#!/bin/sh
# docker: build the container images `cpu` and, with IMAGES="cpu gpu", `gpu`, with
# Docker where an engine runs, else with buildah, which needs none. CPU_BASE names
# another base image (a mirror, or one imported from a debootstrap root).
set -eu
cd "$(dirname "$0")/.."
arguments=
for base in CPU_BASE GPU_BASE; do
    eval "value=\${$base:-}"
    [ -z "$value" ] || arguments="$arguments --build-arg $base=$value"
done
for target in ${IMAGES:-cpu}; do
    # shellcheck disable=SC2086
    if docker info >/dev/null 2>&1; then
        docker build $arguments --target "$target" -t "tokenfate:$target" .
    else
        buildah bud --format docker --isolation chroot $arguments --target "$target" -t "tokenfate:$target" .
    fi
done

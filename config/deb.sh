#!/bin/sh
# deb: a Debian package of what `make install` installs, with dpkg-deb. Called by `make deb`, which
# sets VERSION, BUILD and MAKE. The package goes to BUILD. Programs need what this machine has, so it
# is for the release of Debian that it was built on.
set -eu
cd "$(dirname "$0")/.."
command -v dpkg-deb >/dev/null || { echo "deb: there is no dpkg-deb; this is for Debian" >&2; exit 1; }
stage=$BUILD/deb
root=$stage/root
arch=$(dpkg --print-architecture)
version=$VERSION
# Later commits are later versions; the time of the commit makes the package the same each time.
if count=$(git rev-list --count HEAD 2>/dev/null); then
    version=$version+$count.g$(git rev-parse --short HEAD)
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
fi
rm -rf "$stage"
mkdir -p "$root/DEBIAN" "$root/usr/share/doc/tokenfate"
$MAKE --no-print-directory -s -o all install DESTDIR="$(realpath "$root")" PREFIX=/usr BUILD="$BUILD" >/dev/null
rm -f "$root/usr/share/tokenfate/.complete"
strip --strip-unneeded --remove-section=.comment "$root/usr/bin/"tokenfate*
gzip -9n "$root/usr/share/man/man1/tokenfate.1"
cp README.md docs/*.md "$root/usr/share/doc/tokenfate"
cp LICENSE "$root/usr/share/doc/tokenfate/copyright"
install -D -m 644 config/environment "$root/etc/tokenfate/environment"
echo /etc/tokenfate/environment >"$root/DEBIAN/conffiles"

# The packages of the libraries that the programs name, with the versions that they need where
# dpkg-shlibdeps can tell. The CUDA backend's are not asked for: it is loaded where they are.
programs="$root/usr/bin/tokenfate $root/usr/bin/tokenfate-trainer"
if command -v dpkg-shlibdeps >/dev/null; then
    mkdir -p "$stage/debian"
    printf 'Source: tokenfate\n\nPackage: tokenfate\nArchitecture: any\n' >"$stage/debian/control"
    # shellcheck disable=SC2086
    depends=$(cd "$stage" && dpkg-shlibdeps -O $(printf '%s\n' $programs | sed "s|^$stage/|-e|") | sed -n 's/^shlibs:Depends=//p')
else
    # shellcheck disable=SC2086
    depends=$(ldd $programs | awk '$3 ~ /^\// {print $3}' | sort -u | xargs realpath | xargs dpkg -S | cut -d: -f1 | sort -u | paste -sd, | sed 's/,/, /g')
fi
[ -n "$depends" ] || { echo "deb: the libraries of the programs belong to no package" >&2; exit 1; }

cat >"$root/DEBIAN/control" <<END
Package: tokenfate
Version: $version
Architecture: $arch
Maintainer: tokenfate
Section: science
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, systemd | systemd-standalone-sysusers, init-system-helpers
Recommends: ca-certificates
Suggests: bash-completion
Description: trains small GPT-2 models and follows rare and unseen tokens
 An HTTP service with a queue of jobs that many people share on one machine,
 its page for browsers, and commands for terminals.
END
for script in postinst prerm postrm; do
    install -m 755 "config/deb.$script" "$root/DEBIAN/$script"
done
chmod -R u=rwX,go=rX "$root"
dpkg-deb --root-owner-group -Zxz --build "$root" "$BUILD/tokenfate_${version}_$arch.deb" >/dev/null
rm -rf "$stage"
echo "  $BUILD/tokenfate_${version}_$arch.deb"

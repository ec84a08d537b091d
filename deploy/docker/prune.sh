#!/bin/sh
# Takes out of an installed node_modules what no process of HAL9 reads: other platforms, tools of tests, sources of maps and types. The argument is
# the folder that holds node_modules.
set -eu
cd "$1/node_modules"
case "$(uname -m)" in
  x86_64) keep=x86_64-unknown-linux-gnu ;;
  aarch64) keep=aarch64-unknown-linux-gnu ;;
  *) echo "no build of Temporal's core for $(uname -m)" >&2; exit 1 ;;
esac
for release in @temporalio/core-bridge/releases/*; do
  [ "$(basename "$release")" = "$keep" ] || rm -rf "$release"
done
# Node comes with the image; compilers of contracts, embedded databases and their like belong to the repository.
rm -rf node @foundry-rs @embedded-postgres embedded-postgres @temporalio/core-bridge/sdk-core
# Chromium for browser sessions is in the image of its own, deploy/docker/Dockerfile.
rm -rf @sparticuz/chromium/bin
find . \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.flow' \) -type f -delete
find . -type d \( -name docs -o -name test -o -name tests -o -name __tests__ -o -name example -o -name examples -o -name man \) -not -path '*/dist/*' -prune -exec rm -rf {} +

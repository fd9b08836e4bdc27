#!/usr/bin/env bash
# Build and test the three images on a machine without a container engine: buildah builds, podman runs.
#
#     sudo docker/check.sh
#
# This takes about ten minutes on two cores, and temporarily 5 GB in TMPDIR (/var/tmp).
# STORAGE_DRIVER=vfs is for kernels without overlay: slower, and several times as large.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "Error: $*" >&2
    exit 1
}

say() {
    printf '\n== %s\n' "$*"
}

((EUID == 0)) || fail "containers without an engine need root; run: sudo docker/check.sh"
packages="buildah catatonit debootstrap podman runc"
for tool in buildah debootstrap podman runc; do
    command -v "$tool" > /dev/null || fail "$tool is missing; run: apt-get install $packages"
done

say "Linters"
PATH=$PATH:$PWD/.venv/bin
lint() {
    if command -v "$1" > /dev/null; then
        "$@" && echo "$1: clean"
    else
        echo "$1 is not installed: not checked"
    fi
}
lint hadolint docker/*.Dockerfile
lint shellcheck docker/check.sh .ci/run

TMPDIR=$(mktemp -d "${TMPDIR:-/var/tmp}/screening-images.XXXXXX")
export TMPDIR STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}"
store=(--root "$TMPDIR/store" --runroot "$TMPDIR/run")

engine() {
    podman "${store[@]}" --runtime runc "$@"
}

clear_up() {
    engine rm --all --force > "$TMPDIR/rm.log" 2>&1 || true
    engine image umount --all --force > "$TMPDIR/rm.log" 2>&1 || true
    rm -rf "$TMPDIR"
}
trap clear_up EXIT

# A minimal Debian with Debian's Python in the place where the official image has its own.
stand_in() {
    local root=$TMPDIR/root mirror
    # shellcheck disable=SC2016  # a variable of apt-get, not of the shell
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | sort -u | head -n 1)
    debootstrap --variant=minbase --include=ca-certificates,python3-pip \
        bookworm "$root" ${mirror:+"$mirror"} \
        > "$TMPDIR/debootstrap.log" || fail "the substitute was not built: $(tail -n 5 "$TMPDIR/debootstrap.log")"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}/*
    ln -s /usr/bin/python3.11 "$root/usr/local/bin/python3"
    ln -s python3 "$root/usr/local/bin/python"
    ln -s /usr/bin/pip3 "$root/usr/local/bin/pip"
    tar -C "$root" -c . | engine import --quiet \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - stand-in
    rm -rf "$root"
}

say "Base"
base=$(sed -n 's/^ARG PYTHON=//p' docker/runner.Dockerfile)
if ! buildah "${store[@]}" pull --quiet "$base" 2> "$TMPDIR/pull.log"; then
    echo "$base cannot be pulled; building a substitute from Debian's packages"
    stand_in
    base=stand-in
fi

# Settings that this machine needs to reach a package index are available while an image is built.
outside=()
for path in /etc/pip.conf /etc/ssl/certs; do
    [[ ! -e $path ]] || outside+=(--volume "$path:$path:ro")
done

# Docker's image format, because the OCI format has no health check.
build() {
    local image=$1
    shift
    say "Building $image"
    buildah "${store[@]}" build --isolation chroot --format docker --pull-never \
        --build-arg PYTHON="$base" "${outside[@]}" \
        --file "docker/${image%-own}.Dockerfile" --tag "screening-$image" "$@" . \
        > "$TMPDIR/$image.log" 2>&1 || fail "$image: $(tail -n 20 "$TMPDIR/$image.log")"
}

# The same options as in compose.yaml. podman asks for larger ulimits than a restricted root can set.
fence=(--init --read-only --tmpfs /tmp --network none --cap-drop all
    --security-opt no-new-privileges --memory 4g
    --ulimit nofile=4096:4096 --ulimit nproc=4096:4096)

run() {
    engine run --rm --no-healthcheck "${fence[@]}" "$@"
}

refused() {
    if run "$@" > "$TMPDIR/refused.log" 2>&1; then
        fail "this command should have failed: $*"
    fi
    tail -n 1 "$TMPDIR/refused.log"
}

golden=$PWD/tests/support/golden
pictures=$PWD/screening/training/gate_pictures

build runner
say "The runner, as its own user and as another"
for user in 10001:10001 12345; do
    mine=(--user "$user" --volume "$golden:/films/golden:ro" --volume "$pictures:/films/pictures:ro")
    mine+=(--volume "state-${user%:*}:/state" --volume "reports-${user%:*}:/reports")
    run "${mine[@]}" --entrypoint id screening-runner
    run "${mine[@]}" screening-runner --version
    run "${mine[@]}" screening-runner run /films --out /reports/night
    refused "${mine[@]}" --entrypoint python screening-runner -c 'import tensorflow'
    refused "${mine[@]}" --entrypoint touch screening-runner /venv/file /file
done

say "The worker: healthy, gives its job back when it is stopped, and goes on"
mine=(--volume "$pictures:/films:ro" --volume state:/state --volume reports:/reports)
engine run --detach --name worker "${fence[@]}" "${mine[@]}" screening-runner 2> "$TMPDIR/worker.log"
run "${mine[@]}" screening-runner submit /films --out /reports/night
until engine logs worker 2>&1 | grep Screening; do sleep 0.2; done
time engine healthcheck run worker
time engine stop --time 30 worker 2> "$TMPDIR/worker.log"
engine logs worker
code=$(engine inspect --format '{{.State.ExitCode}}' worker)
((code == 130)) || fail "the worker ended with $code, expected 130"
run "${mine[@]}" screening-runner jobs list
run "${mine[@]}" screening-runner worker --drain
run "${mine[@]}" screening-runner jobs list
engine start worker 2> "$TMPDIR/worker.log"
engine exec worker sh -c 'rm /state/screening/queue.sqlite* && echo nonsense > /state/screening/queue.sqlite'
if engine healthcheck run worker; then
    fail "a worker without a usable queue is reported as healthy"
fi
engine rm --force worker 2> "$TMPDIR/worker.log"

build train
say "Training and exporting, as another user"
mine=(--user 12345 --volume models:/models)
run "${mine[@]}" --volume "$PWD/tests:/tests:ro" --env PYTHONPATH=/tests \
    --entrypoint python screening-train -c '
from pathlib import Path
from makers import write_film
for n in range(240):
    finding = ("NORMAL", "PNEUMONIA")[n % 2]
    write_film(Path("films", finding, f"person{n // 3}_{n}.png"), n, 0.3 + 0.3 * (n % 2))'
run "${mine[@]}" screening-train train films --out model --architecture small --epochs 1
run "${mine[@]}" screening-train export model --out bundle --target onnx --target tflite-float32

build edge
bundle=$(engine volume inspect --format '{{.Mountpoint}}' models)/bundle
build edge-own --build-context "bundle=$bundle"
say "The edge: the shipped bundle, and one's own, laid over it or built in"
mine=(--volume "$golden:/films/golden:ro" --volume "$pictures:/films/pictures:ro")
for user in 10001:10001 12345; do
    run "${mine[@]}" --user "$user" screening-edge
    run "${mine[@]}" --user "$user" screening-edge /films --out /reports/night
done
run "${mine[@]}" --volume "$bundle:/bundle:ro" screening-edge
run "${mine[@]}" screening-edge-own
refused --entrypoint python screening-edge -c 'import tensorflow'

say "Sizes"
for image in "$base" screening-runner screening-edge screening-train; do
    root=$(engine image mount "$image")
    printf '%-36s %5s MB\n' "$image" "$(du --summarize --block-size=MB "$root" | grep -o '^[0-9]*')"
done

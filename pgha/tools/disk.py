"""A small disk for one Postgres container, so that it can be full without filling this host's."""

from __future__ import annotations

from pgha.tools.command import Command

VOLUME = "/pgdata"
ASIDE = "/mnt/pgha"
BALLAST = f"{VOLUME}/ballast"
MOVED = f"{VOLUME}/moved"
"""On the volume, under the small disk: the volume's data is no longer the newest."""
NEWEST = "newest"
"""On the small disk, when it is about to go: its data is to be moved back."""

RIGHTS = (
    "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE",
    "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
)  # fmt: skip
"""What entering another container's mount namespace and mounting there takes; less than `--privileged`."""

FITS = f"""
used=$(du -sk {VOLUME} | cut -f1)
free=$(awk '/^MemAvailable/ {{ print $2 }}' /proc/meminfo)
[ $((2 * (used + $1 * 1024))) -le "$free" ] && exit
echo "the data ($((used / 1024)) MB) is too big for a disk in memory ($((free / 1024)) MB free)" >&2; exit 1
"""

SHRINK = f"""
set -eu
mkdir -p {ASIDE}
if [ "$(stat -f -c %T {VOLUME})" = tmpfs ]; then echo shrunk; exit 0; fi
if mountpoint -q {ASIDE}; then umount {ASIDE}; fi
rm -f {MOVED}
size=$(($(du -sk {VOLUME} | cut -f1) + $1 * 1024))
mount -t tmpfs -o "size=${{size}}k,mode=0755" tmpfs {ASIDE}
cp -a {VOLUME}/. {ASIDE}/
touch {MOVED}
mount --bind {ASIDE} {VOLUME} || {{ rm {MOVED}; umount {ASIDE}; exit 1; }}
umount {ASIDE}
echo shrunk
"""

GROW = f"""
set -eu
mkdir -p {ASIDE}
if [ "$(stat -f -c %T {VOLUME})" = tmpfs ]; then
    touch {VOLUME}/{NEWEST}
    mountpoint -q {ASIDE} || mount --bind {VOLUME} {ASIDE}
    # Postgres may still archive a segment when Patroni has ended.
    deadline=$(($(date +%s) + 30))
    until umount {VOLUME}; do [ "$(date +%s)" -lt "$deadline" ] || exit 1; sleep 0.5; done
fi
if ! mountpoint -q {ASIDE}; then
    if [ -e {MOVED} ]; then echo gone; else echo kept; fi
    exit 0
fi
if [ ! -e {ASIDE}/{NEWEST} ]; then
    # A copy that was never used, or one that was moved back: the volume has it all.
    rm -f {MOVED}
    umount {ASIDE}
    echo kept; exit 0
fi
rm -f {ASIDE}/ballast
find {VOLUME} -mindepth 1 ! -path {MOVED} -delete
cp -a {ASIDE}/. {VOLUME}/
rm -f {VOLUME}/{NEWEST} {MOVED}
sync -f {VOLUME}
rm {ASIDE}/{NEWEST}
umount {ASIDE}
echo grown
"""


def _helper(container: str, image: str, script: str, *arguments: str) -> Command:
    """A script in the container's mount namespace, with the rights to mount there."""
    return Command(
        ("docker", "run", "--rm", "--pid", f"container:{container}", *RIGHTS, "--user", "root", image,
         "nsenter", "--target", "1", "--mount", "--", "sh", "-c", script, "disk", *arguments),
        timeout=300,
    )  # fmt: skip


def fits(container: str, room: int) -> Command:
    """Fails with a sentence when the memory of this host does not hold the data twice."""
    return Command(("docker", "exec", "--user", "root", container, "sh", "-c", FITS, "disk", str(room)))


def shrink(container: str, image: str, room: int) -> Command:
    """Move the data to a file system in memory with `room` MB to spare, mounted over the volume. Nothing runs on it."""
    return _helper(container, image, SHRINK, str(room))


def grow(container: str, image: str) -> Command:
    """Move the data back to the volume. Can be repeated after it was interrupted.

    Prints `grown`; `kept` when the volume has everything; `gone` when the small disk ended with its container.
    """
    return _helper(container, image, GROW)


def accept(container: str) -> Command:
    """After `gone`: what the volume holds now is all the data there is."""
    return Command(("docker", "exec", "--user", "root", container, "rm", "-f", MOVED))


def fill(container: str) -> Command:
    """Write until there is no space left. dd ends with an error then; the file it leaves is the aim.

    Fails where the small disk is gone, with its container for instance: this host's is never filled.
    """
    script = (
        f"[ $(stat -f -c %T {VOLUME}) = tmpfs ] || exit 1\n"
        f"dd if=/dev/zero of={BALLAST} bs=64k 2>/dev/null; df --output=avail {VOLUME} | tail -n 1"
    )
    return Command(("docker", "exec", "--user", "root", container, "sh", "-c", script))


def empty(container: str) -> Command:
    """Free what `fill` took."""
    return Command(("docker", "exec", "--user", "root", container, "rm", "-f", BALLAST))


def wipe(container: str, data_dir: str) -> Command:
    """The data directory vanishes at once, and Postgres with it, as when a disk is lost. Its tablespaces follow.

    Can be repeated after it was interrupted: what is lost goes last, for it names the tablespaces.
    """
    name = data_dir.rpartition("/")[2]
    script = (
        f"lost=$(mktemp -d {VOLUME}/lost.XXXXXX) || exit 1\n"
        f"pid=$(head -n 1 {data_dir}/postmaster.pid 2>/dev/null)\n"
        # The file of a Postgres that crashed may name what is another process now.
        f'[ "$(cat /proc/$pid/comm 2>/dev/null)" = postgres ] || pid=\n'
        f'mv {data_dir} "$lost/" && {{ [ -z "$pid" ] || kill -s KILL "$pid"; }}\n'
        f"rm -rf {VOLUME}/lost.*/{name}/pg_tblspc/*/PG_{name}_*[0-9] && rm -rf {VOLUME}/lost.*\n"
        f'test ! -e "$lost"'
    )
    return Command(("docker", "exec", "--user", "root", container, "sh", "-c", script))

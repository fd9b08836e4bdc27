"""Detection of network filesystems from the kernel's list of mounts."""

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import host
from jobs.host import Mount, is_network, mount_of, network_filesystem, parse_mounts

# Abridged lists of mounts from several kinds of machines; names and addresses are made up.
SERVER = """\
22 29 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
24 29 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=8126300k,nr_inodes=2031575,mode=755
29 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
30 22 0:28 / /proc/sys/fs/binfmt_misc rw,relatime shared:15 - autofs systemd-1 rw,fd=29,pgrp=1,direct
97 29 253:2 / /home rw,relatime shared:40 - xfs /dev/mapper/vg-home rw,attr2,inode64,noquota
101 29 0:45 / /mnt/films rw,relatime shared:55 - nfs4 10.0.0.5:/export/films rw,vers=4.2,hard,proto=tcp
102 29 0:46 / /mnt/old\\040films rw,relatime shared:56 - nfs 10.0.0.6:/films rw,vers=3,nolock
103 29 0:47 / /mnt/share rw,relatime shared:57 - cifs //FILES/Radiology\\040Dept rw,vers=3.1.1,user=r
104 101 253:3 / /mnt/films/local rw,relatime shared:58 - ext4 /dev/mapper/vg-cache rw
105 97 0:48 / /home/jane/remote rw,nosuid,nodev,relatime shared:59 - fuse.sshfs jane@host: rw,user_id=1000
106 97 8:17 / /home/jane/disk rw,nosuid,nodev,relatime shared:60 - fuseblk /dev/sdb1 rw,user_id=0
107 97 0:49 / /home/jane/none rw,relatime - tmpfs  rw
"""

CONTAINER = """\
611 528 0:98 / / rw,relatime master:209 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/c/diff
612 611 0:101 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
613 611 0:102 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
620 611 254:1 /docker/volumes/queue/_data /queue rw,relatime master:1 - ext4 /dev/vda1 rw
621 611 0:45 /2026 /films ro,relatime master:55 - nfs4 10.0.0.5:/export/films rw,vers=4.2,hard
622 611 254:1 /docker/containers/c/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw
"""

DESKTOP = """\
611 528 0:98 / / rw,relatime master:209 - overlay overlay rw,lowerdir=/l/A,upperdir=/c/diff
620 611 0:54 /jane/work /work rw,nosuid,nodev,relatime - fakeowner /run/host_mark/Users rw,fakeowner
621 611 0:55 / /share rw,relatime - virtiofs share rw
622 611 0:56 / /older rw,nosuid,nodev,relatime - fuse.grpcfuse grpcfuse rw,user_id=0,group_id=0
"""

SUBSYSTEM = """\
63 74 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro,data=ordered
90 63 0:47 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\134;uid=1000;symlinkroot=/mnt/
"""

BTRFS = """\
64 1 0:35 /@ / rw,relatime shared:1 - btrfs /dev/nvme0n1p2 rw,ssd,space_cache=v2,subvolid=256,subvol=/@
96 64 0:35 /@home /home rw,relatime shared:50 - btrfs /dev/nvme0n1p2 rw,ssd,subvolid=257,subvol=/@home
97 96 0:60 / /home/films rw,relatime shared:51 master:7 propagate_from:2 - nfs4 nas:/films rw,vers=4.1
98 64 0:35 /@home/cache /home/films/cache rw,relatime shared:50 - btrfs /dev/nvme0n1p2 rw,ssd
"""

AUTOMOUNTED = """\
29 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
51 29 0:50 / /films rw,relatime shared:300 - autofs systemd-1 rw,fd=71,pgrp=1,timeout=0,direct
52 29 0:51 / /net rw,relatime shared:301 - autofs /etc/auto.net rw,fd=6,pgrp=900,timeout=300,indirect
53 51 0:52 / /films rw,relatime shared:302 - nfs4 nas:/films rw,vers=4.2
54 52 0:53 / /net/nas/films rw,nosuid,nodev,relatime shared:303 - nfs nas:/films rw,vers=3
"""


@pytest.mark.parametrize(
    ("mountinfo", "path", "lies_on"),
    [
        (SERVER, "/", "ext4"),
        (SERVER, "/var/lib/queue.sqlite", "ext4"),
        (SERVER, "/home/jane/queue.sqlite", "xfs"),
        (SERVER, "/mnt/films", "nfs4"),
        (SERVER, "/mnt/films/2026/queue.sqlite", "nfs4"),
        (SERVER, "/mnt/filmsandmore/queue.sqlite", "ext4"),
        (SERVER, "/mnt/films/local/queue.sqlite", "ext4"),
        (SERVER, "/mnt/old films/queue.sqlite", "nfs"),
        (SERVER, "/mnt/old/queue.sqlite", "ext4"),
        (SERVER, "/mnt/share/queue.sqlite", "cifs"),
        (SERVER, "/home/jane/remote/queue.sqlite", "fuse.sshfs"),
        (SERVER, "/home/jane/disk/queue.sqlite", "fuseblk"),
        (SERVER, "/home/jane/none/queue.sqlite", "tmpfs"),
        (SERVER, "/proc/sys/fs/binfmt_misc/x", "autofs"),
        (CONTAINER, "/root/queue.sqlite", "overlay"),
        (CONTAINER, "/queue/queue.sqlite", "ext4"),
        (CONTAINER, "/films/queue.sqlite", "nfs4"),
        (CONTAINER, "/etc/hosts", "ext4"),
        (DESKTOP, "/work/queue.sqlite", "fakeowner"),
        (DESKTOP, "/share/queue.sqlite", "virtiofs"),
        (DESKTOP, "/older/queue.sqlite", "fuse.grpcfuse"),
        (SUBSYSTEM, "/home/jane/queue.sqlite", "ext4"),
        (SUBSYSTEM, "/mnt/c/Users/jane/queue.sqlite", "9p"),
        (BTRFS, "/home/jane/queue.sqlite", "btrfs"),
        (BTRFS, "/home/films/queue.sqlite", "nfs4"),
        (AUTOMOUNTED, "/films/queue.sqlite", "nfs4"),
        (AUTOMOUNTED, "/net/nas/films/queue.sqlite", "nfs"),
        (AUTOMOUNTED, "/net/other/films/queue.sqlite", "autofs"),
    ],
)
def test_path_belongs_to_innermost_visible_mount(mountinfo, path, lies_on):
    mount = mount_of(PurePosixPath(path), parse_mounts(mountinfo))
    assert mount.filesystem == lies_on


def test_mount_over_parent_folder_hides_earlier_mount():
    mount = mount_of(PurePosixPath("/home/films/cache/queue.sqlite"), parse_mounts(BTRFS))
    # The last line was mounted first, and /home/films was mounted over it.
    assert mount.filesystem == "nfs4"


@pytest.mark.parametrize("order", [1, -1])
def test_uppermost_of_stacked_mounts_wins_in_any_order(order):
    lines = [
        "29 1 253:0 / / rw - ext4 /dev/sda1 rw",
        "40 29 0:40 / /data rw shared:7 - nfs4 nas:/data rw",
        "41 40 8:1 / /data rw - xfs /dev/sdb1 rw",
    ]
    mount = mount_of(PurePosixPath("/data/queue.sqlite"), parse_mounts("\n".join(lines[::order])))
    assert mount.filesystem == "xfs"


def test_later_mount_at_same_point_wins():
    lines = (
        "29 1 253:0 / / rw - ext4 a rw\n40 29 0:1 / /d rw - nfs4 b rw\n41 29 8:1 / /d rw - xfs c rw"
    )
    assert mount_of(PurePosixPath("/d/q"), parse_mounts(lines)).filesystem == "xfs"


def test_root_mount_may_be_its_own_parent():
    lines = "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 8:1 / / rw - ext4 /dev/sda1 rw"
    assert mount_of(PurePosixPath("/q"), parse_mounts(lines)).filesystem == "ext4"


def test_mount_of_chroot_is_unknown():
    lines = "40 29 0:40 / /data rw - nfs4 nas:/data rw"
    assert mount_of(PurePosixPath("/home/q"), parse_mounts(lines)) is None
    assert mount_of(PurePosixPath("/data/q"), parse_mounts(lines)).filesystem == "nfs4"


def test_example_of_man_page_is_parsed():
    line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
    assert list(parse_mounts(line)) == [Mount("36", "35", PurePosixPath("/mnt2"), "ext3")]


@pytest.mark.parametrize("line", ["", "36 35 98:0 / /mnt rw", "36 35 98:0 / /mnt rw -", "- - -"])
def test_malformed_lines_are_skipped(line):
    assert list(parse_mounts(f"{line}\n{SUBSYSTEM}")) == list(parse_mounts(SUBSYSTEM))


def mangled(name):
    """Escape a path like the kernel: seq_path() in fs/seq_file.c escapes these four characters."""
    return re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", name)


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
    st.lists(st.sampled_from(["shared:1", "master:2", "propagate_from:3", "unbindable"])),
)
def test_mount_point_with_any_name_is_found(name, options):
    point = PurePosixPath("/mnt") / name
    fields = ["40 29 0:40 /", mangled(f"/mnt/{name}"), "rw", *options, "-", "nfs4", "nas:/x", "rw"]
    mountinfo = "29 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + " ".join(fields) + "\n"
    assert mount_of(point / "q", parse_mounts(mountinfo)).filesystem == "nfs4"


@pytest.mark.parametrize("local", ["ext4", "overlay", "btrfs", "tmpfs", "zfs", "fuseblk", "fuse"])
def test_local_filesystems(local):
    assert not is_network(local)


@pytest.mark.parametrize("remote", ["nfs4", "cifs", "9p", "ceph", "fuse.ceph-fuse", "fuse.rclone"])
def test_network_filesystems(remote):
    assert is_network(remote)


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """Replace the kernel's list of mounts."""

    def put(mountinfo):
        (tmp_path / "mountinfo").write_bytes(mountinfo)
        monkeypatch.setattr(host, "_MOUNTINFO", tmp_path / "mountinfo")

    return put


def test_links_in_path_are_resolved(listed, tmp_path):
    for name in ("share", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    (tmp_path / "share" / "back").symlink_to(tmp_path / "local")
    real = os.path.realpath(tmp_path)
    listed(f"1 0 8:1 / / rw - ext4 a rw\n2 1 0:4 / {real}/share rw - nfs4 b rw\n".encode())
    assert network_filesystem(tmp_path / "link" / "not" / "yet" / "queue.sqlite") == "nfs4"
    assert network_filesystem(tmp_path / "share" / "back" / "queue.sqlite") is None
    assert network_filesystem(tmp_path / "local" / ".." / "share" / "queue.sqlite") == "nfs4"


def test_relative_path_uses_working_directory(listed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed(f"2 1 0:4 / {os.path.realpath(tmp_path)} rw - nfs4 b rw\n".encode())
    assert network_filesystem(Path("queue.sqlite")) == "nfs4"


@pytest.mark.parametrize("name", [b"f\xfcr", b"carriage\rreturn", "\u2028".encode()])
def test_names_with_invalid_utf8_or_line_ends_are_found(listed, tmp_path, name):
    real = os.fsencode(os.path.realpath(tmp_path)) + b"/" + name
    listed(b"1 0 8:1 / / rw - ext4 a rw\n2 1 0:4 / %s rw - nfs4 b rw\n" % real)
    assert network_filesystem(Path(os.fsdecode(real)) / "queue.sqlite") == "nfs4"


def test_missing_mountinfo_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_MOUNTINFO", tmp_path / "nothing")
    assert network_filesystem(tmp_path) is None


# Run in a mount namespace that ends with the process.
_PRIVATE = ("unshare", "--map-root-user", "--mount", "--propagation", "private")

_MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from jobs.host import network_filesystem

def mount(kind, options, what, where):
    command = ["mount", "-i", "-t", kind, "-o", options, what, str(where)]
    subprocess.run(command, check=True, close_fds=False)

place = Path(sys.argv[1])
memory, remote = place / "memory", place / "remote files"
for folder in (memory, remote):
    folder.mkdir()
mount("tmpfs", "size=1m", "none", memory)
# A filesystem in user space whose server has gone, as after a cut connection.
server = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(server, True)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
mount("fuse.sshfs", options, "host:", remote)
os.close(server)
found = [network_filesystem(folder / "queue.sqlite") for folder in (memory, remote)]
mount("tmpfs", "size=1m", "none", place)
found.append(network_filesystem(remote / "queue.sqlite"))
sys.stdout.write(repr(found))
"""


def test_real_mounts_are_distinguished(tmp_path):
    if subprocess.run([*_PRIVATE, "true"], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there are no filesystems in user space here")
    command = [*_PRIVATE, sys.executable, "-c", _MOUNTED, str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout == "[None, 'fuse.sshfs', None]"

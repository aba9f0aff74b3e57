# SPDX-License-Identifier: BSD-3-Clause
"""A Slurm of its own over simulated hosts, for tests of the batch scripts in apps/slurm.

Every host of netns-cluster is a node with its slurmd; slurmctld and munged run on the
first. Addresses and ports are those of the private network. private() first moves the
whole test into process, mount and network namespaces, with a /run of its own in memory,
which holds keys, configuration, spool folders, logs and jobs: when the test ends, for
whatever reason, nothing of it is left. Commands of Slurm run on a host: Slurm.run().
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cluster

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
INSIDE = "DML_TEST_SLURM_INSIDE"
START_S = 30     # for the daemons, on a loaded machine
COMMAND_S = 20   # for a command of Slurm
# A requeued job starts again when its credential has expired: 120 s if nothing is said,
# 5 s at least.
CREDENTIAL_S = 5
KILL_WAIT_S = 10     # from SIGTERM to SIGKILL
NODE_TIMEOUT_S = 15  # after which a silent node is taken for lost
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL",
         "PREEMPTED", "OUT_OF_MEMORY")
# Nothing here uses control groups, but slurmd wants a plugin for them. This one starts
# where there are none.
CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupMountpoint={top}/cgroup\n"

CONF = """\
ClusterName=test
SlurmctldHost=h0
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={top}/munge/socket,cred_expire={credential}
StateSaveLocation={top}/state
SlurmdSpoolDir={top}/spool.%n
TmpFS={top}/tmp.%n
SlurmctldPidFile={top}/slurmctld.pid
SlurmdPidFile={top}/slurmd.%n.pid
SlurmctldLogFile={top}/log/slurmctld.log
SlurmdLogFile={top}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout={node_timeout}
KillWait={kill_wait}
MailProg=/bin/true
GresTypes=gpu
"""
# Slurm wants a file for each GPU, of whatever kind, and counts them.
GRES = "Name=gpu File={file}\n"


class Slurm:
    def __init__(self, hosts_up, top, count):
        self.hosts, self.top, self.count = hosts_up, top, count
        self.daemons = {}  # name and host -> process
        self.env = {**os.environ, "SLURM_CONF": os.path.join(top, "slurm.conf")}

    # ---- daemons -----------------------------------------------------------------------

    def path(self, *parts):
        return os.path.join(self.top, *parts)

    def configure(self, cpus, gpus):
        """Nodes of so many processors and GPUs, whatever the machine has."""
        for name in ("munge", "state", "log"):
            os.mkdir(self.path(name), 0o700)
        text = CONF.format(top=self.top, credential=CREDENTIAL_S,
                           kill_wait=KILL_WAIT_S,
                           node_timeout=NODE_TIMEOUT_S)
        for i in range(self.count):
            os.mkdir(self.path(f"spool.h{i}"))
            os.mkdir(self.path(f"tmp.h{i}"))
            text += (f"NodeName=h{i} NodeAddr=198.18.0.{i + 1} CPUs={cpus} "
                     f"RealMemory=1000 Gres=gpu:{gpus} State=UNKNOWN\n")
        text += "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        gres = ""
        for i in range(gpus):
            os.symlink("/dev/null", self.path(f"gpu{i}"))
            gres += GRES.format(file=self.path(f"gpu{i}"))
        for name, words in (("slurm.conf", text), ("gres.conf", gres),
                            ("cgroup.conf", CGROUP_CONF.format(top=self.top))):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(words)
        with open(self.path("munge", "key"), "wb") as file:
            os.chmod(file.name, 0o600)
            file.write(os.urandom(1024))

    def words(self, host, *command):
        return [cluster.TOOL, "exec", "-c", self.hosts.name, host, *map(str, command)]

    def daemon(self, host, *command):
        log = self.path("log", f"{command[0]}.{host}.out")
        with open(log, "wb") as out:
            self.daemons[command[0], host] = subprocess.Popen(
                self.words(host, *command), env=self.env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT)

    def start(self):
        munge = self.path("munge")
        self.daemon("h0", "munged", "-F", "--force", f"--socket={munge}/socket",
                    f"--key-file={munge}/key", f"--pid-file={munge}/pid",
                    f"--seed-file={munge}/seed", f"--log-file={self.path('log/munged')}",
                    "--num-threads=2")
        self.await_(lambda: os.path.exists(munge + "/socket"), "munged", START_S)
        self.daemon("h0", "slurmctld", "-D")
        for i in range(self.count):
            self.daemon(f"h{i}", "slurmd", "-D", "-N", f"h{i}")
        self.await_(lambda: self.idle() == self.count, "all nodes are idle", START_S)

    def idle(self):
        done = self.try_("sinfo", "-h", "-N", "-t", "idle", "-o", "%N")
        return len(set(done.stdout.split()))

    def logs(self):
        """The ends of all logs, for a report."""
        text = ""
        for name in sorted(os.listdir(self.path("log"))):
            with open(self.path("log", name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()[-15:]
            text += "".join(f"\n  {name}: {line}" for line in lines)
        return text

    def await_(self, holds, what, limit_s):
        """Until it holds; Wrong with all logs when it takes too long, or a daemon ends."""
        begin_s = time.monotonic()
        while not holds():
            ended = [name for name, daemon in list(self.daemons.items())
                     if daemon.poll() is not None]
            cluster.require(not ended, f"{ended} ended{self.logs()}")
            cluster.require(time.monotonic() - begin_s < limit_s,
                            f"waited {limit_s} s for: {what}{self.logs()}")
            time.sleep(0.03)

    def stop(self):
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def crash(self, host):
        """A node is lost without a word."""
        daemon = self.daemons.pop(("slurmd", host))
        self.hosts.crash(host)
        daemon.wait()

    # ---- commands ----------------------------------------------------------------------

    def try_(self, *command, cwd=None, env=None):
        return subprocess.run(
            ["timeout", "-k", "5", str(COMMAND_S), *self.words("h0", *command)],
            env={**self.env, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
            capture_output=True, text=True)

    def run(self, *command, cwd=None, env=None):
        """A command of Slurm that works; its standard output."""
        done = self.try_(*command, cwd=cwd, env=env)
        cluster.require(done.returncode == 0,
                        f"status {done.returncode} of {' '.join(map(str, command))}: "
                        f"{done.stderr.strip()}")
        return done.stdout

    def show(self, job):
        """{name: value} of a job as slurmctld knows it."""
        words = self.run("scontrol", "show", "job", "-o", str(job)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job, limit_s):
        """Until the job has ended; what show() tells of it."""
        begin_s = time.monotonic()
        while True:
            shown = self.show(job)
            if shown["JobState"] in ENDED:
                return shown
            cluster.require(time.monotonic() - begin_s < limit_s,
                            f"job {job} is {shown['JobState']} after {limit_s} s")
            time.sleep(0.2)


# ---- the whole -------------------------------------------------------------------------

def private():
    """Goes on in namespaces of its own, once; the reason why it cannot, or "". Their
    first process is a shell, which collects orphans; when it ends, all are killed."""
    if os.environ.get(INSIDE):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return ""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"no {missing[0]} (packages slurmctld slurmd slurm-client munge)"
    words = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child",
             "--mount-proc", "sh", "-c", 'mount -t tmpfs none /run && "$@"; exit $?', "sh"]
    probe = subprocess.run([*words, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"namespaces: {probe.stderr.strip()}"
    sys.stdout.flush()
    os.execvpe(words[0], [*words, sys.executable, *sys.argv],
               {**os.environ, INSIDE: "1", "TMPDIR": "/run"})


@contextlib.contextmanager
def running(count, cpus, gpus):
    """A Slurm of so many nodes while the block runs."""
    with cluster.cluster(count) as hosts_up, \
            tempfile.TemporaryDirectory(prefix="dml-slurm-") as top:
        slurm = Slurm(hosts_up, top, count)
        slurm.configure(cpus, gpus)
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()

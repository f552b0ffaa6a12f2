"""Measures the parties in turns and writes the report; called by benches/run, in its sandbox.

What is measured of a command, and how:
  wall       from its start to its end
  cpu        of everybody who works for it: the command and its children (wait4), the
             service's container (cgroup), Docker's daemons and the S3 server (/proc/<pid>/stat).
             What else the machine does meanwhile is not in it, and is reported as the load.
  memory     of our own process: VmHWM, read every 20 ms, and the largest of all processes of
             the command, by wait4: the larger of both counts.
  written    to the host's disk, by the command and its children (/proc/self/io, which adds
             up those that were waited for). The server's own files are not in it.
Parties run in turns (A B C A B C …) and ratios are taken within a turn, so that a load from
outside, which changes slowly, hits all of them.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.environ["SANDBOX_ROOT"]
LIB = os.environ["DOKKU_LIB_ROOT"]
BUCKET = os.environ["SANDBOX_S3_BUCKET"]
PLUGIN = f"{LIB}/plugins/available/pgbackup"
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
# Cores that others may use before wall times stop meaning much.
BUSY = 0.3
DOKKU = f"{ROOT}/bin/dokku"
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": os.environ["SANDBOX_S3_FULL_KEY_ID"],
    "AWS_SECRET_ACCESS_KEY": os.environ["SANDBOX_S3_FULL_SECRET"],
    "AWS_DEFAULT_REGION": os.environ["SANDBOX_S3_REGION"],
}


def say(text):
    print(f"-----> {text}", file=sys.stderr, flush=True)


def detail(text):
    print(f"       {text}", file=sys.stderr, flush=True)


# --- what a machine and its processes tell ---------------------------------------------------


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def process_seconds(pid):
    """User and system time of one process, in seconds."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def machine_seconds():
    """Busy and stolen CPU seconds of the whole machine."""
    fields = [int(field) / TICK for field in read("/proc/stat").split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return user + nice + system + irq + softirq, steal


def container_seconds(pid):
    """CPU seconds of a container, by its first process: cgroup version 2 or 1."""
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            for folder in ("cpuacct", "cpu,cpuacct"):
                usage = read(f"/sys/fs/cgroup/{folder}{path}/cpuacct.usage")
                if usage:
                    return int(usage) / 1e9
        if not controllers:
            found = re.search(r"^usage_usec (\d+)", read(f"/sys/fs/cgroup{path}/cpu.stat"), re.M)
            if found:
                return int(found[1]) / 1e6
    return 0.0


def inspect(service, what):
    return subprocess.check_output(["docker", "container", "inspect", "--format", what, f"dokku.postgres.{service}"], text=True).strip()


class Parts:
    """The processes outside of a command that work for it."""

    def __init__(self, service):
        self.container = inspect(service, "{{.State.Pid}}")
        identity = inspect(service, "{{.Id}}")
        self.docker, self.store = [], [read(f"{ROOT}/s3/pid").strip()]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            name = read(f"/proc/{pid}/comm").strip()
            if name in ("dockerd", "containerd"):
                self.docker.append(pid)
            elif name.startswith("containerd-shim") and identity in read(f"/proc/{pid}/cmdline"):
                self.docker.append(pid)

    def seconds(self):
        return {
            "server": container_seconds(self.container),
            "docker": sum(map(process_seconds, self.docker)),
            "store": sum(map(process_seconds, self.store)),
        }


def descendants(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in read(f"/proc/{pid}/task/{task}/children").split():
            yield int(child)
            yield from descendants(child)


class Watch(threading.Thread):
    """Reads the peak memory of our process among the children of a command, while it runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.ours, self.peak, self.over = pid, None, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            try:
                if self.ours is None:
                    for child in descendants(self.pid):
                        if os.readlink(f"/proc/{child}/exe").startswith(PLUGIN):
                            self.ours = child
                found = re.search(r"VmHWM:\s+(\d+)", read(f"/proc/{self.ours}/status")) if self.ours else None
                if found:
                    self.peak = max(self.peak, int(found[1]) * 1024)
            except OSError:
                pass


def measure(arguments, service, stdin=None, stdout=None, environment=None):
    """Runs a command and returns its costs; ends everything when it fails."""
    parts = Parts(service)
    written = lambda: int(re.search(r"^write_bytes: (\d+)", read("/proc/self/io"), re.M)[1])
    stdout = stdout or tempfile.TemporaryFile()
    with tempfile.TemporaryFile() as errors:
        before, wrote, (busy, stolen) = parts.seconds(), written(), machine_seconds()
        began = time.monotonic()
        process = subprocess.Popen(
            arguments, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=errors, env={**os.environ, **(environment or {})}
        )
        watch = Watch(process.pid)
        watch.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        watch.over.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        (busy_now, stolen_now), after = machine_seconds(), parts.seconds()
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f" !     {' '.join(arguments[:4])} failed with {process.returncode}:\n{errors.read().decode()}")
    cost = {"wall": wall, "command": used.ru_utime + used.ru_stime}
    cost.update({name: after[name] - before[name] for name in before})
    cost["cpu"] = cost["command"] + cost["server"] + cost["docker"] + cost["store"]
    # Cores that others kept busy (or the host took away) on average while this ran.
    cost["load"] = max(0.0, busy_now - busy + stolen_now - stolen - cost["cpu"]) / wall
    cost["memory"] = max(used.ru_maxrss * 1024, watch.peak)
    cost["ours"] = watch.peak
    cost["written"] = written() - wrote
    if hasattr(stdout, "name") and stdout.fileno() != subprocess.DEVNULL:
        try:
            stdout.seek(0)
            cost["output"] = stdout.read().decode(errors="replace")
        except (OSError, ValueError):
            pass
    return cost


# --- a client that asks all the time ---------------------------------------------------------


class Session:
    """As much of PostgreSQL's protocol as an app that asks one question again and again needs."""

    def __init__(self, address, password, database):
        self.socket = socket.create_connection((address, 5432), timeout=3)
        self.file = self.socket.makefile("rb")
        parameters = b"".join(text.encode() + b"\0" for text in ("user", "postgres", "database", database)) + b"\0"
        self.socket.sendall(struct.pack("!II", len(parameters) + 8, 196608) + parameters)
        self.log_in(password.encode())

    def send(self, kind, body):
        self.socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def receive(self):
        header = self.file.read(5)
        if len(header) < 5:
            raise ConnectionError("closed")
        return header[:1], self.file.read(struct.unpack("!I", header[1:])[0] - 4)

    def log_in(self, password):
        """SCRAM-SHA-256 (RFC 5802), or trust."""
        nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        bare = f"n=,r={nonce}"
        while True:
            kind, body = self.receive()
            code = struct.unpack("!I", body[:4])[0] if kind == b"R" else None
            if kind == b"E":
                raise ConnectionError(body.decode(errors="replace"))
            if kind == b"Z":
                return
            if code == 10:
                first = f"n,,{bare}".encode()
                self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
            elif code == 11:
                challenge = body[4:].decode()
                fields = dict(field.split("=", 1) for field in challenge.split(","))
                salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields["s"]), int(fields["i"]))
                final = f"c=biws,r={fields['r']}"
                stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
                signature = hmac.digest(stored, f"{bare},{challenge},{final}".encode(), "sha256")
                key = hmac.digest(salted, b"Client Key", "sha256")
                proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
                self.send(b"p", f"{final},p={proof}".encode())

    def ask(self, statement):
        """The only row of the answer, as text."""
        self.send(b"Q", statement.encode() + b"\0")
        row, error = None, None
        while True:
            kind, body = self.receive()
            if kind == b"D":
                row, at = [], 2
                for _ in range(struct.unpack("!H", body[:2])[0]):
                    length = struct.unpack("!i", body[at : at + 4])[0]
                    row.append(body[at + 4 : at + 4 + max(length, 0)].decode())
                    at += 4 + max(length, 0)
            elif kind == b"E":
                error = body.decode(errors="replace")
            elif kind == b"Z":
                if error:
                    raise ConnectionError(error)
                return row

    def close(self):
        self.file.close()
        self.socket.close()


class Client(threading.Thread):
    """An app: asks every 20 ms for what it knows to be there, reconnects at once when it is thrown out.

    An answer that is late by more than a second is as bad as none: statement_timeout.
    """

    QUESTION = (
        "SELECT (SELECT count(*) FROM pgbench_branches), (SELECT count(*) FROM pgbench_accounts WHERE aid = 1),"
        " (SELECT count(*) FROM (SELECT FROM blobs LIMIT 1) first)"
    )

    def __init__(self, service, scale):
        super().__init__(daemon=True)
        self.address = inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        self.password = read(f"{LIB}/services/postgres/{service}/PASSWORD").strip()
        self.database, self.expected = service, [str(scale), "1", "1"]
        self.over, self.without, self.longest, self.refused = threading.Event(), 0.0, 0.0, 0

    def run(self):
        session, good, bad = None, time.monotonic(), False
        while not self.over.is_set():
            try:
                if session is None:
                    session = Session(self.address, self.password, self.database)
                    session.ask("SET statement_timeout = 1000")
                right = session.ask(self.QUESTION) == self.expected
            except OSError:
                right, self.refused = False, self.refused + 1
                if session is not None:
                    session.close()
                session = None
            now = time.monotonic()
            if right:
                if bad:
                    # From the last good answer to the next: what the app's users saw.
                    self.without += now - good
                    self.longest = max(self.longest, now - good)
                good, bad = now, False
            else:
                bad = True
            self.over.wait(0.02)
        if session is not None:
            session.close()

    def __enter__(self):
        self.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        time.sleep(1.5)
        self.over.set()
        self.join()


# --- the parties -----------------------------------------------------------------------------


def aws(*arguments, **options):
    command = ["aws", "--endpoint-url", os.environ["SANDBOX_S3_ENDPOINT"], *arguments]
    return subprocess.run(command, env={**os.environ, **S3_ENVIRONMENT}, check=True, stdout=subprocess.PIPE, **options)


def objects():
    listing = json.loads(aws("s3api", "list-objects-v2", "--bucket", BUCKET).stdout or b"{}")
    return {entry["Key"]: entry["Size"] for entry in listing.get("Contents", [])}


def empty_bucket():
    aws("s3", "rm", "--quiet", "--recursive", f"s3://{BUCKET}")


def stored(service):
    return max((size for key, size in objects().items() if key.startswith(f"postgres-{service}-")), default=0)


def limit():
    """PostgreSQL's own dump through Docker, thrown away."""
    dump = ["docker", "exec", "-u", "postgres", "dokku.postgres.bench", "pg_dump", "-Fc", "-Z0", "-d", "bench"]
    with open(os.devnull, "wb") as nowhere:
        return measure(dump, "bench", stdout=nowhere)


def limit_by_tcp():
    """The same from the host, without TLS: where the host has a pg_dump of that version."""
    address = inspect("bench", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    password = read(f"{LIB}/services/postgres/bench/PASSWORD").strip()
    dump = ["pg_dump", "-Fc", "-Z0", "-h", address, "-U", "postgres", "-w", "-d", "bench"]
    with open(os.devnull, "wb") as nowhere:
        return measure(dump, "bench", stdout=nowhere, environment={"PGPASSWORD": password, "PGSSLMODE": "disable"})


def ours():
    empty_bucket()
    cost = measure([DOKKU, "pgbackup:backup", "bench"], "bench")
    return {**cost, "stored": stored("bench")}


def dokku_postgres():
    """dump with zlib to a file, tar + gzip, aws s3 cp -"""
    empty_bucket()
    cost = measure([DOKKU, "postgres:backup", "bench", BUCKET], "bench")
    return {**cost, "stored": stored("bench")}


def same_major():
    """Whether the host has a pg_dump of the service's version."""
    if not shutil.which("pg_dump"):
        return False
    versions = [
        subprocess.check_output(["pg_dump", "--version"], text=True),
        subprocess.check_output(["docker", "exec", "dokku.postgres.bench", "pg_dump", "--version"], text=True),
    ]
    here, there = (re.search(r"(\d+)", version)[1] for version in versions)
    return here == there


def turns(parties, rounds):
    """Runs the parties in turns. Returns the costs of each, in the order of the turns."""
    costs = {name: [] for name in parties}
    for number in range(rounds):
        for name, party in parties.items():
            cost = party()
            costs[name].append(cost)
            detail(f"{number + 1}/{rounds} {name}: {cost['wall']:.2f} s, {cost['cpu']:.1f} CPU s, load of others {cost['load']:.1f}")
    return costs


# --- figures ---------------------------------------------------------------------------------


def median(costs, name):
    return statistics.median(cost[name] for cost in costs)


def ratio(costs, others):
    """Wall time of one party to another's, taken within each turn."""
    return statistics.median(a["wall"] / b["wall"] for a, b in zip(costs, others))


class Report:
    def __init__(self):
        self.lines, self.goals, self.missed, self.loads = [], [], [], []

    def add(self, *lines):
        self.lines += lines

    def table(self, header, rows):
        self.add("", "| " + " | ".join(header) + " |", "|" + " --- |" * len(header))
        self.lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
        self.add("")

    def require(self, what, found, wanted, reached):
        self.goals.append((what, found, wanted, "yes" if reached else "**no**"))
        if not reached:
            self.missed.append(what)


def megabytes(size):
    return f"{size / 1e6:.1f} MB" if size else "–"


def every(costs, name="wall"):
    return " ".join(f"{cost[name]:.2f}" if cost[name] < 10 else f"{cost[name]:.1f}" for cost in costs)


def raw(report, costs):
    rows = []
    for name, runs in costs.items():
        shares = " + ".join(f"{median(runs, part):.1f}" for part in ("command", "server", "docker", "store"))
        rows.append(
            (
                name,
                f"{median(runs, 'wall'):.2f}",
                every(runs),
                f"{median(runs, 'cpu'):.1f}",
                shares,
                f"{max(run['memory'] for run in runs) / MIB:.0f} MiB",
                megabytes(max(run["written"] for run in runs)),
                megabytes(runs[0].get("stored", 0)),
                f"{median(runs, 'load'):.1f}",
            )
        )
    header = ("", "wall s", "each", "CPU s", "command + server + docker + S3", "largest process", "written", "stored", "load of others")
    report.table(header, rows)
    first, *others = costs
    for name in others:
        cpu = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(costs[name], costs[first]))
        report.add(f"- {name}: {ratio(costs[name], costs[first]):.2f} × the wall time and {cpu:.2f} × the CPU time of {first}")
    report.add("")
    report.loads += [run["load"] for runs in costs.values() for run in runs]


def backup(report, rounds):
    say("Backup of the large database")
    parties = {"`docker exec … pg_dump -Fc -Z0 > /dev/null`": limit, "`dokku pgbackup:backup`": ours, "`dokku postgres:backup`": dokku_postgres}
    if same_major():
        parties["`pg_dump -Fc -Z0` over TCP `> /dev/null`"] = limit_by_tcp
    names = list(parties)
    empty_bucket()
    parties[names[1]]()  # warms caches and pages for all alike
    costs = turns(parties, rounds)
    floor, own, theirs = (costs[name] for name in names[:3])
    report.add("### Backup of the large database")
    raw(report, costs)
    report.require(
        "backup against `docker exec … pg_dump -Fc -Z0`", f"{ratio(own, floor):.2f} ×", "at most 1.25 ×", ratio(own, floor) <= 1.25
    )
    report.require("faster than `dokku postgres:backup`", f"{ratio(theirs, own):.1f} ×", "at least 2.5 ×", ratio(theirs, own) >= 2.5)
    remember_memory(report, "backup", own)
    scratch = max(run["written"] for run in own)
    report.require("dump bytes on the host's disk", megabytes(scratch) if scratch else "none", "none (1 MB for the history)", scratch <= 1e6)


def remember_memory(report, what, costs):
    peak = max(run["memory"] for run in costs) / MIB
    own = max(run["ours"] for run in costs) / MIB
    report.require(f"peak memory, {what}", f"{own:.0f} MiB (its largest process of all: {peak:.0f})", "at most 96 MiB", peak <= 96)


def restore(report, rounds, scale):
    say("Restore of the large database")
    empty_bucket()
    ours()
    # Theirs: fetched and unpacked by hand before the import, which is not counted.
    export = f"{ROOT}/export"
    with open(export, "wb") as file:
        subprocess.run([DOKKU, "postgres:export", "bench"], stdout=file, check=True)
    plain = [DOKKU, "pgbackup:restore", "bench", "latest", "--no-safety-backup", "--force"]

    def own():
        with Client("bench", scale) as client:
            cost = measure(plain, "bench")
        text = cost["output"]
        told = re.search(r"away for ([\d.]+)s", text)
        # The replaced database is kept: dropped here, so that the disk doesn't fill up.
        subprocess.run([DOKKU, "pgbackup:rollback", "bench", "--discard", "--force"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {**cost, "told": float(told[1]) if told else float("nan"), "without": client.without, "longest": client.longest}

    def theirs():
        with Client("bench", scale) as client, open(export, "rb") as file:
            cost = measure([DOKKU, "postgres:import", "bench"], "bench", stdin=file)
        return {**cost, "told": float("nan"), "without": client.without, "longest": client.longest}

    parties = {"`dokku pgbackup:restore`, verified": own, "`dokku postgres:import` of a local file": theirs}
    costs = turns(parties, rounds)
    os.remove(export)
    mine, other = costs.values()
    report.add("### Restore of the large database, while a client asks every 20 ms")
    raw(report, costs)
    rows = [
        (name, " ".join("–" if run["told"] != run["told"] else f"{run['told']:.2f}" for run in runs), every(runs, "without"), every(runs, "longest"))
        for name, runs in costs.items()
    ]
    report.table(("", "away, as told", "wrong or no answer, seconds in all", "at a stretch"), rows)
    report.add(f"Wall time of our restore to that of the import: {ratio(mine, other):.2f} × (download, unpacking and verification are in ours alone).")
    told, seen = max(run["told"] for run in mine), max(run["longest"] for run in mine)
    report.require("the app is without its database", f"{told:.2f} s told, {seen:.2f} s seen by a client", "under 2 s", max(told, seen) < 2)
    remember_memory(report, "restore", mine)


def small(report, rounds):
    say("Small things")

    def in_a_second_of_its_own(*words):
        # A key names its second: the later one of two backups within one waits for the next.
        time.sleep(1 - time.time() % 1)
        return measure([DOKKU, *words], "tiny")

    parties = {"`dokku pgbackup:backup` of a tiny database": lambda: in_a_second_of_its_own("pgbackup:backup", "tiny")}
    parties["`dokku postgres:backup` of it"] = lambda: in_a_second_of_its_own("postgres:backup", "tiny", BUCKET)
    costs = turns(parties, max(rounds, 5))
    report.add("### Small things")
    raw(report, costs)
    tiny = median(next(iter(costs.values())), "wall")
    report.require("backup of a tiny database", f"{tiny:.2f} s", "under 1.5 s", tiny < 1.5)

    # As Dokku starts it, without Dokku's own start.
    def plugin(*arguments):
        name = arguments[0].partition(":")[2]
        began = time.monotonic()
        done = subprocess.run(
            [f"{PLUGIN}/subcommands/{name}", *arguments], user="dokku", group="dokku", extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return (time.monotonic() - began) * 1000, done

    rows = []
    for title, arguments, code in (
        ("`pgbackup:help`", ["pgbackup:help"], 0),
        ("`pgbackup:help restore`", ["pgbackup:help", "restore"], 0),
        ("an argument error", ["pgbackup:list", "tiny", "--limit", "many"], 2),
        ("an unknown service", ["pgbackup:backup", "nosuch"], 1),
    ):
        times = []
        for _ in range(15):
            spent, done = plugin(*arguments)
            times.append(spent)
            if done.returncode != code:
                sys.exit(f" !     {' '.join(arguments)} ended with {done.returncode} instead of {code}: {done.stderr.decode()}")
        rows.append((title, f"{statistics.median(times):.0f} ms", f"{max(times):.0f} ms"))
        report.require(title, f"{statistics.median(times):.0f} ms", "under 50 ms", statistics.median(times) < 50)
    report.table(("of 15 starts", "median", "slowest"), rows)


def machine():
    model = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))[1]) / (1 << 20)
    return f"{os.cpu_count()} cores ({model[1] if model else os.uname().machine}), {memory:.0f} GiB, Linux {os.uname().release}"


def database():
    container = ["docker", "exec", "-u", "postgres", "dokku.postgres.bench", "psql", "-XAtd", "bench", "-c"]
    ask = lambda sql: subprocess.check_output([*container, sql], text=True).strip()
    scale = int(ask("SELECT count(*) FROM pgbench_branches"))
    return scale, f"PostgreSQL {ask('SHOW server_version').split()[0]}, {megabytes(int(ask('SELECT pg_database_size(current_database())')))}"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="backup,small,restore")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--output")
    options.add_argument("--report-only", action="store_true")
    options = options.parse_args()
    sets = options.only.split(",")
    if unknown := set(sets) - {"backup", "small", "restore"}:
        sys.exit(f" !     --only knows backup, small and restore, not {', '.join(unknown)}")

    scale, described = database()
    report = Report()
    version = subprocess.check_output([f"{PLUGIN}/bin/pgbackup", "version"], text=True).strip()
    report.add(f"{version}; {machine()}; {described}; medians of {options.rounds} turns.", "")
    if "backup" in sets:
        backup(report, options.rounds)
    if "restore" in sets:
        restore(report, options.rounds, scale)
    if "small" in sets:
        small(report, options.rounds)
    report.add("### Reached")
    report.table(("", "found", "wanted", "reached"), report.goals)
    busy = statistics.median(report.loads)
    if busy > BUSY:
        report.add(f"Others kept {busy:.1f} cores busy meanwhile: ratios and CPU seconds hold, seconds of wall time say little.", "")
    text = "\n".join(report.lines)
    print(text)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    if report.missed and not options.report_only:
        say(f"Not reached: {', '.join(report.missed)}")
        sys.exit(3)


if __name__ == "__main__":
    main()

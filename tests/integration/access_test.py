"""Who may come in: a coordinator with certificates, and everybody that it refuses, with the real programs."""

import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time
import unittest

import namespaces
from fleet import Coordinator, FleetTest, Program, Worker, program, query, wait_until

CONFIG = """data_dir: {directory}
heartbeat_interval: 0.2s
offline_after: 2s
certificates: {{worker_lifetime: {worker}, client_lifetime: {client}, server_lifetime: {server}}}
access_limits: {limits}
"""

JOB = ("workload: {{pressure: {{staircase: {{step_size_bytes: 1MiB, interval: {interval}, steps: {steps}}}, baseline: 0, recovery: 0}}}}\n"
       "guard: {{mode: OFF}}\n")  # fmt: skip


def setUpModule():
    namespaces.enter_network()


def openssl(*arguments, text=""):
    return subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, errors="replace", timeout=30, check=False)


class AccessTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.coordinator = None

    def begin(self, listen="127.0.0.1:0", name="coordinator", worker="1h", client="1h", server="1h", limits="{}", make=True):
        """A coordinator with an authority of its own."""
        directory = self.path(name)
        with open(directory + ".yaml", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=directory, worker=worker, client=client, server=server, limits=limits))
        if make:
            made = self.run_coordinator("init", "--config", directory + ".yaml", "--server-name", "lab.example")
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertIn("Next:", made.stdout)
        coordinator = Coordinator(directory, listen, "--config", directory + ".yaml")
        self.addCleanup(coordinator.close)
        self.coordinator = coordinator
        self.address = coordinator.address
        return coordinator

    def run_coordinator(self, *arguments):
        return subprocess.run([program("ballast-coordinator"), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30, check=False)  # fmt: skip

    def token(self, role, *flags, name="coordinator"):
        """Made beside a coordinator that runs."""
        made = self.run_coordinator("token", "--data-dir", self.path(name), "--role", role, *flags)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def user(self, name):
        """The environment of a user with a home of their own."""
        return {"XDG_CONFIG_HOME": self.path("home-" + name)}

    def login(self, role, name, *flags):
        environment = self.user(name)
        result = self.ballast("login", f"{self.token(role, *flags)}@{self.address}", "--name", name, environment=environment)
        self.assertEqual(result.code, 0, result.err)
        return environment

    def identity_file(self, environment, address=None):
        directory = re.sub(r"[^A-Za-z0-9.-]", "_", address or self.address)
        return os.path.join(environment["XDG_CONFIG_HOME"], "ballast", "credentials", directory, "identity.pem")

    def join(self, device_id, *flags, token_flags=(), wait_as=None, address=None, **options):
        address = address or self.address
        worker = Worker(self.path("worker-" + device_id), address, device_id, "", "--reconnect-max", "1s", "--join",
                        f"{self.token('worker', *token_flags)}@{address}", *flags, **options)  # fmt: skip
        self.addCleanup(worker.close)
        if wait_as is not None:
            self.wait_ready(device_id, wait_as)
        return worker

    def job(self, steps, interval):
        """The command that submits a small job for the only device."""
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(JOB.format(steps=steps, interval=interval))
        return ("submit", self.path("job.yaml"), "--output", "json")

    def state_of(self, device_id, environment):
        result = self.ballast("devices", "show", device_id, "--output", "json", environment=environment)
        return result.json["state"] if result.code == 0 else result.err

    def wait_ready(self, device_id, environment):
        wait_until(lambda: self.state_of(device_id, environment) in ("READY", "BUSY"), 20, f"device {device_id}")

    def stranger(self):
        """A connection without a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, port = self.address.rsplit(":", 1)
        return context.wrap_socket(socket.create_connection((host, int(port)), timeout=20))

    def refused(self, code, *texts, arguments=("jobs", "list"), environment=None):
        result = self.ballast(*arguments, environment=environment)
        self.assertEqual(result.code, code, result.out + result.err)
        for text in texts:
            self.assertIn(text, result.err)
        self.assertTrue(result.err.startswith("error: "), result.err)
        self.assertIn("\n  try: ", result.err)
        return result

    def expect_log(self, worker, text):
        wait_until(lambda: text in worker.log(), 20, f"{text!r} in the worker's log")


class HonestTest(AccessTest):
    def test_join_job_report_on_a_network(self):
        network = namespaces.DeviceNetwork()
        self.addCleanup(network.close)
        self.begin(listen=f"{network.HERE}:0")
        admin = self.login("admin", "root")
        made = self.ballast("token", "create", "--role", "worker", environment=admin)
        self.assertEqual(made.code, 0, made.err)
        worker = Worker(self.path("worker"), self.address, "dev-1", "", "--join", f"{made.out.strip()}@{self.address}", enter=network.enter)
        self.addCleanup(worker.close)
        self.wait_ready("dev-1", admin)
        anna = self.login("client", "anna")
        result = self.ballast(*self.job(steps=3, interval=0.1), environment=anna)
        self.assertEqual(result.code, 0, result.err)
        run = result.json["runs"][0]["run"]
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        job = self.ballast("jobs", "show", run["job_id"], "--output", "json", environment=anna)
        self.assertIn('"submitter": "anna"', job.out, job.err)
        # Whose a reservation and a schedule are the certificate says, also an administrator's, whatever the account is called.
        root = dict(admin, USER="somebody")
        reserved = self.ballast("reservations", "create", "--device", "dev-1", "--for", "1h", "--output", "json", environment=root)
        self.assertEqual((reserved.code, reserved.json["holder"]), (0, "root"), reserved.err)
        self.assertEqual(self.ballast("reservations", "end", reserved.json["reservation_id"], environment=root).code, 0)
        put = self.ballast("schedules", "put", self.path("job.yaml"), "--name", "n", "--cron", "@yearly", "--output", "json", environment=root)
        self.assertEqual((put.code, put.json["submitter"]), (0, "root"), put.err)
        report = self.ballast("report", run["job_id"], "--output", "json", environment=anna)
        self.assertEqual(report.json["runs"][0]["run"]["run_id"], run["run_id"])
        for file in (os.path.join(self.path("worker"), "identity.pem"), self.identity_file(anna)):
            self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600, file)
        # Again, with a token that is used up: the certificate is enough.
        self.assertEqual(worker.terminate(), 0)
        again = Worker(self.path("worker"), self.address, "dev-1", "", "--join", f"{made.out.strip()}@{self.address}", enter=network.enter)
        self.addCleanup(again.close)
        self.wait_ready("dev-1", admin)
        listed = self.ballast("certificates", "list", "--role", "worker", "--output", "json", environment=admin)
        self.assertEqual([one["name"] for one in listed.json["certificates"]], ["dev-1"])

    def test_init_refuses_to_overwrite_and_plain_text_is_refused_before(self):
        directory = self.path("coordinator")

        def authority():
            with open(os.path.join(directory, "pki", "authority.pem"), encoding="ascii") as file:
                return file.read()

        open_to_all = self.run_coordinator("--data-dir", directory, "--listen", "0.0.0.0:0")
        self.assertEqual(open_to_all.returncode, 1)
        self.assertIn("ballast-coordinator init", open_to_all.stderr)
        self.begin()
        before = authority()
        again = self.run_coordinator("init", "--data-dir", directory)
        self.assertEqual(again.returncode, 1)
        self.assertIn("is there already", again.stderr)
        self.assertEqual(authority(), before)
        none = self.run_coordinator("token", "--data-dir", self.path("elsewhere"), "--role", "worker")
        self.assertIn("ballast-coordinator init", none.stderr)

    def test_a_token_works_while_the_coordinator_does_not_run(self):
        coordinator = self.begin()
        self.assertEqual(coordinator.terminate(), 0)
        token = self.token("client")
        self.begin(make=False)
        result = self.ballast("login", f"{token}@{self.address}", "--name", "anna", environment=self.user("anna"))
        self.assertEqual(result.code, 0, result.err)


class RefusalTest(AccessTest):
    def test_no_certificate(self):
        self.begin()
        self.refused(3, "wants a certificate, and there is none here", "ballast login TOKEN@" + self.address, environment=self.user("nobody"))
        worker = Worker(self.path("worker"), self.address, "dev-1", "", "--reconnect-max", "1s")
        self.addCleanup(worker.close)
        self.expect_log(worker, "wants a certificate, and there is none here")

    def test_another_authority(self):
        self.begin(name="other")
        other = self.address
        self.begin()
        made = self.run_coordinator("token", "--data-dir", self.path("other"), "--role", "client").stdout.strip()
        # The token of the other one is not even sent here.
        wrong = self.ballast("login", f"{made}@{self.address}", environment=self.user("anna"))
        self.assertEqual(wrong.code, 3, wrong.err)
        self.assertIn("the token was not sent", wrong.err)
        anna = self.user("anna")
        right = self.ballast("login", f"{made}@{other}", "--name", "anna", environment=anna)
        self.assertEqual(right.code, 0, right.err)
        # Its certificate is not taken, and this coordinator is not taken for the other.
        os.makedirs(os.path.dirname(self.identity_file(anna)))
        shutil.copy(self.identity_file(anna, other), self.identity_file(anna))
        self.refused(3, "not one of the coordinator that was joined", environment=anna)

    def test_plain_text_where_there_was_tls(self):
        coordinator = self.begin()
        anna = self.login("client", "anna")
        port = self.address.rsplit(":", 1)[1]
        coordinator.close()
        plain = Coordinator(self.path("plain"), f"127.0.0.1:{port}")
        self.addCleanup(plain.close)
        self.refused(3, "speaks plain text, and the certificate that is kept for it is for TLS", environment=anna)

    def test_an_expired_certificate(self):
        self.begin(client="10s")
        anna = self.login("client", "anna")
        wait_until(lambda: openssl("x509", "-checkend", "0", "-in", self.identity_file(anna)).returncode != 0, 30, "the end of the certificate")
        time.sleep(1)  # the last second of it counts
        self.refused(3, "it expired on", "ballast login TOKEN@", environment=anna)

    def test_a_revoked_certificate(self):
        self.begin()
        admin = self.login("admin", "root")
        anna = self.login("client", "anna")
        worker = self.join("dev-1", wait_as=admin)
        self.assertEqual(self.ballast("jobs", "list", environment=anna).code, 0)
        for name in ("anna", "dev-1"):
            gone = self.ballast("certificates", "revoke", name, "--reason", "sold", environment=admin)
            self.assertEqual(gone.code, 0, gone.err)
        self.refused(3, "the certificate of client 'anna' was revoked on", "(by root: sold)", environment=anna)
        self.expect_log(worker, "the certificate of worker 'dev-1' was revoked on")
        wait_until(lambda: self.state_of("dev-1", admin) == "OFFLINE", 10, "the session to end")
        # With another token the device comes back, but not with one that anybody might have got.
        worker.close()
        stranger = self.join("dev-1")
        self.assertEqual(stranger.process.wait(20), 1)
        self.assertIn("worker 'dev-1' had a certificate, which was revoked or has expired", stranger.log())
        self.assertIn("ballast token create --role worker --name dev-1", stranger.log())
        stranger.close()
        back = self.join("dev-1", token_flags=("--name", "dev-1"), wait_as=admin)
        self.assertIn("joining anew", back.log())
        again = self.ballast("login", f"{self.token('client')}@{self.address}", "--name", "anna", environment=anna)
        self.assertEqual(again.code, 6, again.err)
        self.assertIn("client 'anna' had a certificate", again.err)

    def test_a_certificate_of_another_role(self):
        self.begin()
        admin = self.login("admin", "root")
        anna = self.login("client", "anna")
        self.join("dev-1", wait_as=admin)
        thief = self.user("thief")
        os.makedirs(os.path.dirname(self.identity_file(thief)))
        shutil.copy(os.path.join(self.path("worker-dev-1"), "identity.pem"), self.identity_file(thief))
        self.refused(3, "ListJobs is for clients and administrators; this is the certificate of worker 'dev-1'", environment=thief)
        self.refused(3, "ListCertificates is for administrators", arguments=("certificates", "list"), environment=anna)
        self.refused(3, "DrainDevice is for administrators", arguments=("devices", "drain", "dev-1"), environment=anna)
        self.assertEqual(self.ballast("devices", "drain", "dev-1", environment=admin).code, 0)

    def test_an_administrators_name_and_certificate_are_not_lost_to_a_client(self):
        self.begin()
        admin = self.login("admin", "root")
        posing = self.ballast("login", f"{self.token('client')}@{self.address}", "--name", "root", environment=self.user("mallory"))
        self.assertEqual(posing.code, 6, posing.err)
        self.assertIn("admin 'root' has a valid certificate already", posing.err)
        # At the same desk, a client's token does not take the administrator's certificate away by mistake.
        token = self.token("client")
        slip = self.ballast("login", f"{token}@{self.address}", "--name", "anna", environment=admin)
        self.assertEqual(slip.code, 2, slip.err)
        self.assertIn("you are logged in there as admin 'root', and the token is for client 'anna'", slip.err)
        self.assertEqual(self.ballast("certificates", "list", environment=admin).code, 0)
        meant = self.ballast("login", f"{token}@{self.address}", "--name", "anna", "--replace", environment=admin)
        self.assertEqual(meant.code, 0, meant.err)
        self.refused(3, "ListCertificates is for administrators", arguments=("certificates", "list"), environment=admin)

    def test_what_a_restored_database_does_not_know(self):
        coordinator = self.begin()
        admin = self.login("admin", "root")
        copy = self.path("copy.db")
        made = self.run_coordinator("backup", "--data-dir", self.path("coordinator"), copy)
        self.assertEqual(made.returncode, 0, made.stderr)
        anna = self.login("client", "anna")
        self.assertEqual(coordinator.terminate(), 0)
        for file in ("ballast.db", "ballast.db-wal", "ballast.db-shm"):
            if os.path.exists(os.path.join(self.path("coordinator"), file)):
                os.unlink(os.path.join(self.path("coordinator"), file))
        shutil.copy(copy, os.path.join(self.path("coordinator"), "ballast.db"))
        address = self.address
        self.begin(make=False, listen=address)
        self.assertEqual(self.ballast("jobs", "list", environment=anna).code, 0)
        unknown = self.ballast("certificates", "revoke", "anna", environment=admin)
        self.assertEqual(unknown.code, 4, unknown.err)
        self.assertIn("--even-unknown --role ROLE", unknown.err)
        gone = self.ballast("certificates", "revoke", "anna", "--role", "client", "--even-unknown", environment=admin)
        self.assertEqual(gone.code, 0, gone.err)
        self.refused(3, "the certificate of client 'anna' was revoked on", environment=anna)

    def test_what_is_kept_is_nobody_elses(self):
        coordinator = self.begin()
        admin = self.login("admin", "root")
        self.join("dev-1", wait_as=admin)
        self.assertEqual(stat.S_IMODE(os.stat(coordinator.database).st_mode), 0o600)
        for directory in ("coordinator", "worker-dev-1"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(directory)).st_mode), 0o700, directory)

    def test_a_worker_under_another_name(self):
        self.begin()
        admin = self.login("admin", "root")
        worker = self.join("dev-1", wait_as=admin)
        self.assertEqual(worker.terminate(), 0)
        other = subprocess.run([program("ballast-worker"), "--coordinator", self.address, "--data-dir", self.path("worker-dev-1"), "--device-id",
                                "dev-2"], capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
        self.assertEqual(other.returncode, 1)
        self.assertIn("the certificate is that of device dev-1, and --device-id says dev-2", other.stderr)

    def test_tokens_that_are_used_expired_or_altered(self):
        self.begin()
        token = self.token("client")
        used = self.ballast("login", f"{token}@{self.address}", "--name", "anna", environment=self.user("anna"))
        self.assertEqual(used.code, 0, used.err)
        attempts = [(token, "was used already"), (token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB"), "was altered")]
        short = self.token("client", "--ttl", "1s")
        time.sleep(2.1)  # it lasts a second, rounded up
        attempts.append((short, "the join token expired on"))
        for text, reason in attempts:
            result = self.ballast("login", f"{text}@{self.address}", "--name", "bob", environment=self.user("bob"))
            self.assertEqual(result.code, 3, result.err)
            self.assertIn(reason, result.err)
            self.assertIn("\n  try: ", result.err)
        without_role = self.run_coordinator("token", "--data-dir", self.path("nowhere"))
        self.assertEqual(without_role.returncode, 2)
        self.assertIn("--role is missing", without_role.stderr)
        # What is no token is wrong use, and leaves nothing behind.
        for text in ("foo", "foo@" + self.address):
            worker = Worker(self.path("nobody"), self.address, "dev-1", "", "--join", text)
            self.addCleanup(worker.close)
            self.assertEqual(worker.process.wait(20), 2)
            self.assertIn("token", worker.log())
            self.assertFalse(os.path.exists(os.path.join(self.path("nobody"), "device_id")))
        # The same for a worker, which ends: nothing would come of trying again.
        worker = Worker(self.path("worker"), self.address, "dev-1", "", "--join", f"{short}@{self.address}")
        self.addCleanup(worker.close)
        self.assertEqual(worker.process.wait(20), 1)
        self.assertIn("not for a worker", worker.log())
        worker = Worker(self.path("worker"), self.address, "dev-1", "", "--join", f"{self.used_worker_token()}@{self.address}")
        self.addCleanup(worker.close)
        self.assertEqual(worker.process.wait(20), 1)
        self.assertIn("was used already", worker.log())

    def used_worker_token(self):
        token = self.token("worker")
        first = Worker(self.path("first"), self.address, "first", "", "--join", f"{token}@{self.address}")
        self.addCleanup(first.close)
        self.expect_log(first, "joined coordinator")
        return token

    def test_old_versions_of_tls(self):
        self.begin()

        def connects(version, *more):
            result = openssl("s_client", "-connect", self.address, version, "-alpn", "h2", *more)
            return "Cipher is (NONE)" not in result.stdout and "BEGIN CERTIFICATE" in result.stdout

        self.assertFalse(connects("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"))
        self.assertFalse(connects("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"))
        self.assertTrue(connects("-tls1_2"))
        self.assertTrue(connects("-tls1_3"))


class RenewalTest(AccessTest):
    def test_certificates_are_renewed_while_a_run_goes_on(self):
        coordinator = self.begin(worker="10s", client="10s", server="10s")
        admin = self.login("admin", "root")
        worker = self.join("dev-1", wait_as=admin)
        # Nobody renews this one's but the command itself, whose connection has to change its certificate, too.
        anna = self.login("client", "anna")
        job = self.ballast(*self.job(steps=22, interval=1), "--detach", environment=admin)
        self.assertEqual(job.code, 0, job.err)
        job_id = job.json["job_id"]
        watch = Program([program("ballast"), "watch", job_id, "--coordinator", self.address], self.path("watch.log"), stdout=subprocess.DEVNULL,
                        env=dict(os.environ, **anna))  # fmt: skip
        self.addCleanup(watch.close)
        states = set()

        def ended():
            # Each command renews its own certificate when that is due.
            states.add(self.state_of("dev-1", admin))
            shown = self.ballast("runs", "list", "--job", job_id, "--output", "json", environment=admin)
            self.assertEqual(shown.code, 0, shown.err)
            return [run for run in shown.json["runs"] if run["state"] == "ENDED"]

        (run,) = wait_until(ended, 60, "the run to end")
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)
        self.assertLessEqual(states, {"READY", "BUSY"}, "the device was connected all the while")
        self.assertEqual(watch.process.wait(20), 0, watch.log())
        self.assertIn("connecting again with the one that is kept now", watch.log())
        self.assertGreaterEqual(worker.log().count("the certificate was renewed"), 2)
        self.assertGreaterEqual(coordinator.log().count("the coordinator has a new certificate"), 1)
        serials = query(coordinator.database, "select count(*) from certificates where name = 'root'")[0][0]
        self.assertGreaterEqual(serials, 2)


if __name__ == "__main__":
    unittest.main()

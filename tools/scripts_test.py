"""The shell scripts of this folder, run against stand-ins for Debian's programs and ctest that log how they were called."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
PACKAGES = [line for line in (TOOLS / "packages.txt").read_text().splitlines() if line and not line.startswith("#")]


class Script(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bin = Path(folder.name) / "bin"
        self.bin.mkdir()
        self.log = Path(folder.name) / "log"
        for program in ("bash", "cat", "dirname", "env", "grep", "mktemp", "nproc", "rm", "sed", "tail", "tee"):
            (self.bin / program).symlink_to(shutil.which(program))

    def program(self, name, body):
        file = self.bin / name
        file.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"{self.log}"\n{body}\n')
        file.chmod(0o755)

    def run_script(self, name, *arguments):
        command = [TOOLS / name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": str(self.bin)})

    def calls(self, name):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(name + " ")]


class CheckScaling(Script):
    def test_what_is_missing_is_said_in_one_line(self):
        for tool in ("ip", "mpirun", "taskset", "unshare"):
            self.program(tool, "")
        command = [sys.executable, TOOLS / "check_scaling.py", "/bin/true"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": str(self.bin)})
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "check_scaling: tc is not installed; expected iproute2, util-linux and OpenMPI\n")


class InstallPackages(Script):
    def machine(self, installed, user_id=0):
        listing = "".join(f"echo {package} installed\n" for package in installed)
        self.program("dpkg-query", listing + f"exit {int(len(installed) < len(PACKAGES))}")
        self.program("apt-get", 'echo "apt-get speaks"')
        self.program("id", f"echo {user_id}")

    def test_nothing_missing_means_no_word_and_no_apt(self):
        self.machine(PACKAGES, user_id=1000)
        run = self.run_script("install_packages.sh")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))
        self.assertEqual(self.calls("apt-get"), [])

    def test_root_installs_just_what_is_missing_without_sudo(self):
        self.machine(PACKAGES[2:])
        self.program("sudo", 'exec "$@"')
        run = self.run_script("install_packages.sh")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout, "")
        self.assertEqual(self.calls("apt-get"), [
            "apt-get -q update",
            f"apt-get -q install -y --no-install-recommends {PACKAGES[0]} {PACKAGES[1]}",
        ])
        self.assertEqual(self.calls("sudo"), [])

    def test_a_user_installs_with_sudo_and_without_questions(self):
        self.machine([], user_id=1000)
        self.program("sudo", 'exec "$@"')
        self.assertEqual(self.run_script("install_packages.sh").returncode, 0)
        self.assertEqual([call[:60] for call in self.calls("sudo")], [
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get -q update",
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y"[:60],
        ])

    def test_a_removed_package_with_config_files_left_is_missing(self):
        self.machine(PACKAGES[1:])
        self.program("dpkg-query", "".join(f"echo {package} installed\n" for package in PACKAGES[1:]) + f"echo {PACKAGES[0]} config-files")
        self.run_script("install_packages.sh")
        self.assertTrue(self.calls("apt-get")[-1].endswith(f" {PACKAGES[0]}"))

    def test_without_sudo_a_user_is_told_the_command(self):
        self.machine(PACKAGES[1:], user_id=1000)
        run = self.run_script("install_packages.sh")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr, f"[setup] packages are missing and there is no sudo; run as root: apt-get install {PACKAGES[0]}\n")

    def test_a_stale_package_list_is_no_reason_to_stop(self):
        self.machine(PACKAGES[1:])
        self.program("apt-get", 'case "$*" in *update*) exit 100 ;; esac')
        self.assertEqual(self.run_script("install_packages.sh").returncode, 0)

    def test_a_failed_installation_fails(self):
        self.machine(PACKAGES[1:])
        self.program("apt-get", 'case "$*" in *install*) exit 100 ;; esac')
        run = self.run_script("install_packages.sh")
        self.assertEqual(run.returncode, 1)
        self.assertIn(f"[setup] apt-get could not install: {PACKAGES[0]};", run.stderr)

    def test_another_system_gets_one_line_with_what_to_install(self):
        run = self.run_script("install_packages.sh")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(len(run.stderr.splitlines()), 1)
        self.assertIn(" ".join(PACKAGES), run.stderr)


class RunTests(Script):
    def ctest(self, *lines, status=0):
        text = "\n".join(lines)
        self.program("ctest", f"cat <<'END'\n{text}\nEND\nexit {status}")
        return self.run_script("run_tests.sh", "release", "-L", "lint")

    def test_the_last_line_counts_the_tests(self):
        run = self.ctest("    Start 1: a", "100% tests passed, 0 tests failed out of 40", "", "Total Test time (real) =   0.01 sec")
        self.assertEqual((run.returncode, run.stdout.splitlines()[-1]), (0, "40 passed, 0 failed"))
        self.assertRegex(self.calls("ctest")[0], r"^ctest --preset release -j\d+ -L lint$")

    def test_failures_are_counted_and_keep_the_exit_code_of_ctest(self):
        run = self.ctest("75% tests passed, 10 tests failed out of 40", "The following tests FAILED:", "\t  7 - a (Failed)", status=8)
        self.assertEqual((run.returncode, run.stdout.splitlines()[-1]), (8, "30 passed, 10 failed"))

    def test_a_skipped_test_has_not_passed(self):
        run = self.ctest("100% tests passed, 0 tests failed out of 3", "The following tests did not run:", "\t  2 - a.b (Skipped)")
        self.assertEqual(run.stdout.splitlines()[-1], "2 passed, 0 failed, 1 skipped")

    def test_a_disabled_test_is_named_though_ctest_leaves_it_out(self):
        run = self.ctest("100% tests passed, 0 tests failed out of 3", "The following tests did not run:", "\t  4 - a.b (Disabled)")
        self.assertEqual(run.stdout.splitlines()[-1], "3 passed, 0 failed, 1 skipped")

    def test_no_tests_are_no_success(self):
        run = self.ctest("No tests were found!!!", status=1)
        self.assertEqual((run.returncode, run.stdout.splitlines()[-1]), (1, "0 passed, 0 failed"))


if __name__ == "__main__":
    unittest.main()

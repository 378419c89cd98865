"""The ``flexgym`` command where something is in its way."""

import os
import subprocess
import sys

import pytest

LOUD = """
import sys, types
import flexgym.cli as cli

loud = types.ModuleType("loud")
loud.run = lambda arguments: {body}
loud.add_arguments = lambda parser: None
sys.modules["loud"] = loud
cli.COMMANDS = {{"loud": ("", {{None: "loud"}})}}
sys.exit(cli.main(["loud", *sys.argv[1:]]))
"""


def run(body, *arguments, **options):
    code = LOUD.format(body=body)
    # What is written is kept back until it is flushed, as in a user's shell.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        **options,
    )


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_a_reader_that_leaves_ends_it_quietly(arguments):
    read, write = os.pipe()
    os.close(read)
    done = run("print('x' * 100) or 0", *arguments, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_path_that_cannot_be_used_is_one_line(tmp_path):
    done = run(f"open({str(tmp_path)!r}, 'w')", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"flexgym: error: cannot use {tmp_path} (Is a directory)")
    assert "--out" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_has_to_read():
    done = run("0", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_other_pipes_are_no_matter_of_the_reader():
    done = run("(_ for _ in ()).throw(BrokenPipeError('a worker'))", stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert "a worker" in done.stderr

"""The wall around unit tests holds."""

import asyncio
import os
import socket
import subprocess
import sys

import grpc
import pytest


def test_connection__to_loopback__is_refused() -> None:
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match="tests/integration"):
        client.connect(("127.0.0.1", 1))


async def test_connection__by_asyncio__is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="tests/integration"):
        await asyncio.open_connection("127.0.0.1", 1)


def test_listener__on_loopback__is_refused() -> None:
    with socket.socket() as server, pytest.raises(pytest.fail.Exception, match="tests/integration"):
        server.bind(("127.0.0.1", 0))


def test_connection__to_a_unix_socket__is_allowed() -> None:
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        client.connect("/nowhere/at/all")


def test_process__by_subprocess__is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="tests/integration"):
        subprocess.run([sys.executable, "--version"], check=True)


def test_process__by_fork__is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="tests/integration"):
        os.fork()


def test_channel__of_grpc__is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="tests/integration"):
        grpc.insecure_channel("127.0.0.1:1")
    with pytest.raises(pytest.fail.Exception, match="tests/integration"):
        grpc.aio.insecure_channel("127.0.0.1:1")

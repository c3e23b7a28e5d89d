"""A reserved port is ours: given to nobody else, and still free for the server it is meant for."""

import asyncio
import socket

import grpc
import pytest
from intentmesh.embedded.errors import PortInUseError
from intentmesh.embedded.ports import PortReservation


def test_reservations__many_at_once__never_share_a_port() -> None:
    reservations = [PortReservation() for _ in range(300)]
    try:
        assert len({reservation.port for reservation in reservations}) == 300
    finally:
        for reservation in reservations:
            reservation.release()


def test_reservation__of_a_port_with_a_listener__is_refused() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(PortInUseError, match="in use"):
            PortReservation(server.getsockname()[1])


def test_reservation__released__can_be_taken_again() -> None:
    with PortReservation() as first:
        port = first.port
    with PortReservation(port) as second:
        assert second.port == port


async def test_reservation__held__lets_a_server_listen_and_be_reached_and_listen_again() -> None:
    with PortReservation() as reservation:
        for _ in range(2):
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", reservation.port)
            reader, writer = await asyncio.open_connection("127.0.0.1", reservation.port)
            assert await reader.read() == b""
            writer.close()
            server.close()
            await server.wait_closed()


async def test_reservation__held__lets_a_grpc_server_listen() -> None:
    with PortReservation() as reservation:
        server = grpc.aio.server()
        assert server.add_insecure_port(reservation.address) == reservation.port
        await server.start()
        await server.stop(None)


def test_reservation__held__is_given_to_no_outgoing_connection() -> None:
    """Exhausts nothing: it only asks the kernel, by number, for what it would have to pick by chance."""
    with PortReservation() as reservation, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", reservation.port))

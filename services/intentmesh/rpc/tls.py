"""The certificate that a server shows, read again when its files change: servers outlive certificates."""

import ssl
from pathlib import Path
from typing import Any

import grpc
import structlog

from intentmesh.rpc.settings import SettingsError

log = structlog.get_logger()

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateFiles:
    """Key, certificate chain and the authority of clients, in PEM. `credentials` of a server follow the files.

    Whoever renews them writes one after the other: what is not whole yet leaves what there was, until it is.
    """

    def __init__(self, key: Path, certificate: Path, client_authority: Path) -> None:
        self._key = key
        self._certificate = certificate
        self._client_authority = client_authority
        self._seen: _Stamp | None = None
        # What was wrong with the files last, as it was told; a handshake is no news.
        self._told = ""

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`: nobody gets through the handshake without a certificate that the authority has signed.

        Raises SettingsError when the files are missing or do not fit together.
        """
        try:
            first = self._read()
        except ssl.SSLError as error:
            raise SettingsError(f"tls_listen: the key, the certificate and the authority: {error}") from error
        except OSError as error:
            raise SettingsError(f"tls_listen: cannot read {error.filename}: {error.strerror}") from error
        renewed: Any = self._renewed  # grpc's stubs know nothing of its None
        return grpc.dynamic_ssl_server_credentials(first, renewed, require_client_authentication=True)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked before every handshake, on a thread of gRPC. None: as before."""
        try:
            renewed = None if self._stamp() == self._seen else self._read()
        except OSError as error:
            if self._told != (told := repr(error)):
                log.warning("certificate_not_renewed", error=told)
            self._told = told
            return None
        self._told = ""
        if renewed is not None:
            log.info("certificate_renewed", certificate=str(self._certificate))
        return renewed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Raises OSError, which ssl.SSLError is too: gRPC would take a key of another certificate and let nobody in."""
        stamp = self._stamp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password it would ask for one at the terminal.
        context.load_cert_chain(self._certificate, self._key, password="")
        context.load_verify_locations(self._client_authority)
        key, certificate, authority = (path.read_bytes() for path in self._files)
        if self._stamp() != stamp:
            raise ssl.SSLError("they were written while they were read")
        self._seen = stamp
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    def _stamp(self) -> _Stamp:
        stats = [path.stat() for path in self._files]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    @property
    def _files(self) -> tuple[Path, Path, Path]:
        return self._key, self._certificate, self._client_authority

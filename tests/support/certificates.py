"""A private certificate authority for a test, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_servers import find

LOCAL = "IP:127.0.0.1,DNS:localhost"
CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
x509_extensions = extensions
[name]
CN = {name}
[extensions]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{extensions}
"""
AUTHORITY = "basicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign"
LEAF = "basicConstraints = critical, CA:false\nsubjectAltName = {alternatives}"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each in a file.

    Args:
        path: of the certificate.
        key: of its private key, without a password.
    """

    path: Path
    key: Path


class Authority:
    """Issues certificates, valid for two days.

    Args:
        folder: where all files go.
    """

    def __init__(self, folder: Path) -> None:
        find("openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = self._make("authority", AUTHORITY)

    def issue(self, name: str, alternatives: str = LOCAL) -> Certificate:
        """A certificate that this authority vouches for.

        Args:
            name: its common name, and of its files.
            alternatives: for whom it is good, as ``subjectAltName`` wants it.
        """
        authority = ["-CA", str(self.certificate.path), "-CAkey", str(self.certificate.key)]
        return self._make(name, LEAF.format(alternatives=alternatives), *authority)

    def self_signed(self, name: str) -> Certificate:
        """A certificate for this machine that nobody vouches for."""
        return self._make(name, LEAF.format(alternatives=LOCAL))

    def expired(self, name: str) -> Certificate:
        """A certificate for this machine that this authority vouched for until yesterday."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(LEAF.format(alternatives=LOCAL))
        authority = ["-CA", str(self.certificate.path), "-CAkey", str(self.certificate.key)]
        for command in (
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request)],
            ["x509", "-req", "-in", str(request), *authority, "-CAcreateserial", "-days", "-1",
             "-extfile", str(extensions), "-out", str(made.path)],
        ):  # fmt: skip
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        return made

    def _make(self, name: str, extensions: str, *options: str) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        configuration = self._folder / f"{name}.cnf"
        configuration.write_text(CONFIGURATION.format(name=name, extensions=extensions))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-config", str(configuration), "-keyout", str(made.key),
             "-out", str(made.path), *options], check=True, capture_output=True,
        )  # fmt: skip
        return made

"""An authority of the tests' own, and certificates from it: good ones, and every kind that a client must refuse. Made by `openssl`."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

_CONFIG = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[req]
distinguished_name = empty
[empty]
"""
_AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, each in a file."""

    cert: Path
    key: Path


class Authority:
    """`issue` makes certificates that those trust who trust `.pair.cert`."""

    def __init__(self, folder: Path, name: str, *, days: tuple[float, float] = (-2, 2)) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "index.txt").touch()
        (self.folder / "ca.cnf").write_text(_CONFIG.format(folder=self.folder))
        self.pair = self._signed(name, _AUTHORITY, days, None)

    def issue(self, name: str, *hosts: str, days: tuple[float, float] = (-1, 1)) -> Pair:
        """For a server at `hosts` (such as "IP:127.0.0.1", "DNS:localhost") or, without one, for a client. `days` from today."""
        names = f"subjectAltName={','.join(hosts)}\n" if hosts else ""
        return self._signed(name, f"basicConstraints=CA:FALSE\n{names}", days, self.pair)

    def _signed(self, name: str, extensions: str, days: tuple[float, float], issuer: Pair | None) -> Pair:
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, extra = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extra.write_text(extensions)
        config = ["-config", str(self.folder / "ca.cnf")]
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(pair.key)]
        openssl("req", "-new", *config, *new_key, "-subj", f"/CN={name}", "-out", str(request))
        signer = ["-selfsign", "-keyfile", str(pair.key)]
        if issuer is not None:
            signer = ["-cert", str(issuer.cert), "-keyfile", str(issuer.key)]
        begin, end = (_time(each) for each in days)
        files = ["-in", str(request), "-out", str(pair.cert), "-extfile", str(extra)]
        openssl("ca", *config, "-batch", "-notext", *signer, "-startdate", begin, "-enddate", end, *files)
        return pair


def encrypted(pair: Pair, password: str) -> Pair:
    """The same, with its key under a password."""
    key = pair.key.with_suffix(".encrypted.key")
    openssl("pkcs8", "-topk8", "-in", str(pair.key), "-out", str(key), "-v2", "aes-256-cbc", "-passout", f"pass:{password}")
    return Pair(pair.cert, key)


def server_context(pair: Pair, *, clients_from: Authority | None = None) -> ssl.SSLContext:
    """For a server that shows `pair` and, with `clients_from`, wants a certificate of each client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients_from is not None:
        context.load_verify_locations(clients_from.pair.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr[-800:]}")


def _time(days: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")

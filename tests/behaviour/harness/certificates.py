"""Certificates for the tests, made afresh in each session with the openssl command."""
import shutil
import ssl
import subprocess


class Certificates:
    """An authority and what it has signed, in one directory."""

    def __init__(self, directory):
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.sign("server", "DNS:localhost,DNS:openai1.test,IP:127.0.0.1")
        self.sign("stranger", "DNS:somebody-else.test")
        self.sign("expired", "DNS:localhost,IP:127.0.0.1", days="-1")
        self.sign_for_later("early", "server")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                     "-keyout", "self.key", "-out", "self.pem")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def sign(self, name, names, days="2"):
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def sign_for_later(self, name, like):
        """A certificate like another's that is not valid yet."""
        (self.directory / "ca.cnf").write_text(
            "[ca]\ndefault_ca=authority\n[authority]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\n"
            "default_md=sha256\npolicy=names\n[names]\ncommonName=supplied\n")
        (self.directory / "index").touch()
        self.openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                     "-startdate", "20990101000000Z", "-enddate", "20990201000000Z", "-extfile", f"{like}.ext",
                     "-in", f"{like}.csr", "-out", f"{name}.pem")
        shutil.copy(self.directory / f"{like}.key", self.directory / f"{name}.key")

    def server(self, name="server", newest=ssl.TLSVersion.TLSv1_3):
        """A context for a server with that certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        context.maximum_version = newest
        return context

    def client(self):
        """A context for a caller that trusts the authority, and that tells an end with close_notify from one without."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context

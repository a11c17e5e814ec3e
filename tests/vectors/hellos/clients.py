"""The clients that ``record.py`` runs, and their command lines.

In a command, PORT stands for the relay's port, SESSION and EARLY for files that are kept from run to run, FOLDER for a
fresh folder, and DIRECTORY for the one that the sources below are written to.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One command.

    Attributes:
        name: the server name that it sends; empty for none.
        refused: why ours must refuse that name; empty for most.
    """

    client: str
    name: str
    command: list[str]
    refused: str = ""


RUNS: list[Run] = []

N1, N2, N3 = "test.internal-server.local", "Portal.Example.ORG", "xn--bcher-kva.a_b.example"
LONG = ".".join(["long" * 15, "name" * 15, "that" * 15, "ends" * 15, "so.example"])[:253]


def run(client: str, name: str, command: str | Sequence[str], refused: str = "") -> None:
    RUNS.append(Run(client, name, command.split() if isinstance(command, str) else list(command), refused))


def openssl_runs() -> None:
    base = "openssl s_client -connect 127.0.0.1:PORT"
    weak = "-cipher ALL:@SECLEVEL=0"
    options = [
        "",
        "-tls1_3",
        "-tls1_2",
        f"-tls1_1 {weak}",
        f"-tls1 {weak}",
        f"-no_tls1_3 {weak}",
        f"{weak} -min_protocol TLSv1",
        "-groups X25519",
        "-groups P-256",
        "-groups P-521:P-384",
        "-groups X448:X25519",
        "-groups ffdhe2048",
        "-groups ffdhe8192",
        "-groups X25519:P-256:P-384:P-521:X448:ffdhe2048:ffdhe3072:ffdhe4096",
        "-alpn h2",
        "-alpn http/1.1",
        "-alpn h2,http/1.1",
        "-alpn " + ",".join(f"protocol-{n}" for n in range(100)),
        "-alpn " + ",".join("x" * 200 + str(n) for n in range(70)),
        "-nextprotoneg h2,http/1.1 -tls1_2",
        "-no_ticket",
        "-no_etm",
        "-no_middlebox",
        "-status",
        "-enable_pha",
        "-fallback_scsv -tls1_2",
        "-maxfraglen 512",
        "-use_srtp SRTP_AES128_CM_SHA1_80",
        "-legacy_renegotiation",
        "-serverinfo 4660,18",
        "-sigalgs RSA-PSS+SHA256",
        "-sigalgs ECDSA+SHA256:RSA+SHA512",
        "-ciphersuites TLS_CHACHA20_POLY1305_SHA256",
        "-cipher AES128-SHA -tls1_2",
        "-cipher ECDHE+CHACHA20",
        "-cipher ALL:COMPLEMENTOFALL:@SECLEVEL=0",
        "-psk 00112233445566778899aabbccddeeff -psk_identity me",
        "-comp",
        "-bugs",
        "-split_send_frag 512",
        "-allow_no_dhe_kex",
        "-srpuser me -tls1_2 -cipher SRP",
        "-min_protocol TLSv1.2 -max_protocol TLSv1.2 -curves P-256",
        "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256 -groups P-256",
    ]
    for index, option in enumerate(options):
        name = (N1, N2, N3)[index % 3]
        run("openssl", name, f"{base} -servername {name} {option}")
    for option in ("", "-tls1_3", "-tls1_2", f"-tls1 {weak}", "-alpn h2", "-groups X448"):
        run("openssl", "", f"{base} -noservername {option}")
    for name in ("a", "localhost", LONG, "0.example", "1a", "a--b.example", "_srv.example", "dot.example."):
        run("openssl", name, f"{base} -servername {name}")
    for name in (
        "192.0.2.1",
        "2001:db8::1",
        "two..dots",
        "-.example/",
        "a b",
        "ä.example",
        "l" * 64 + ".x",
    ):
        run("openssl", name, [*base.split(), "-servername", name], refused="malformed")
    for version in ("-tls1_2", "-tls1_3", "-tls1_2 -no_ticket"):
        run("openssl", N1, f"{base} -servername {N1} {version} -sess_out SESSION")
        run("openssl", N1, f"{base} -servername {N1} {version} -sess_in SESSION")
    tls13 = f"{base} -servername {N2} -tls1_3"
    first = f"sleep 1 | {tls13} -sess_out SESSION"  # s_client leaves with its input, the ticket comes a little later
    for option in ("", "-no_middlebox", "-alpn h2"):
        run("openssl", N2, ["sh", "-c", f"{first}; {tls13} -sess_in SESSION {option} -early_data EARLY"])


def curl_runs() -> None:
    options = [
        "",
        "--http1.1",
        "--http2",
        "--no-alpn",
        "--tlsv1.3",
        "--tlsv1.2 --tls-max 1.2",
        "--tls-max 1.2",
        "--curves X25519",
        "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0",
        "--curves P-256:P-384",
        "--ciphers ECDHE-RSA-AES128-GCM-SHA256",
        "--tls13-ciphers TLS_AES_256_GCM_SHA384",
        "--cert-status",
        "--no-sessionid",
        "--false-start",
        "--tlsv1.0 --ciphers ALL:@SECLEVEL=0",
    ]
    for index, option in enumerate(options):
        name = (N1, N2, N3)[index % 3]
        run("curl", name, f"curl -sk --resolve {name}:PORT:127.0.0.1 {option} https://{name}:PORT/")
    run("curl", N1, f"curl -sk --resolve {N1}.:PORT:127.0.0.1 https://{N1}.:PORT/")
    run("curl", "", "curl -sk https://127.0.0.1:PORT/")
    run("curl", "", "curl -sk --http1.1 https://127.0.0.1:PORT/")
    run("curl", N1, f"curl -sk --resolve {N1}:PORT:127.0.0.1 https://{N1}:PORT/ -: -sk https://{N1}:PORT/again")


CHROMIUM = (
    "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --ignore-certificate-errors --dump-dom --user-data-dir=FOLDER"
)


def chromium_runs() -> None:
    options = [
        "",
        "",
        "",
        "--ssl-version-max=tls1.2",
        "--disable-http2",
        "--disable-features=PostQuantumKyber,UseMLKEM",
        "--disable-features=EncryptedClientHello",
        "--ssl-version-min=tls1.3",
        "--cipher-suite-blacklist=0x1301",
        "--lang=de",
        "--incognito",
        "--enable-features=PermuteTLSExtensions",
    ]
    for index, option in enumerate(options):
        name = (N1, "portal.example.org", N3)[index % 3]
        rules = f"--host-resolver-rules=MAP {name} 127.0.0.1:PORT,MAP * ~NOTFOUND"
        run("chromium", name, [*CHROMIUM.split(), *option.split(), rules, f"https://{name}:PORT/"])
    run("chromium", "", [*CHROMIUM.split(), "https://127.0.0.1:PORT/"])


PYTHON = """
import socket, ssl, warnings
warnings.simplefilter("ignore")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
name = NAME or None
{}
with context.wrap_socket(socket.create_connection(("127.0.0.1", PORT)), server_hostname=name) as tls:
    tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    while tls.recv(65536): pass
    session = tls.session
{}
"""
AGAIN = """
raw = socket.create_connection(("127.0.0.1", PORT))
with context.wrap_socket(raw, server_hostname=name, session=session) as tls: pass
"""


def python_runs() -> None:
    setups = [
        "",
        "context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE",
        "context.minimum_version = ssl.TLSVersion.TLSv1_3",
        "context.maximum_version = ssl.TLSVersion.TLSv1_2",
        'context.minimum_version = ssl.TLSVersion.TLSv1; context.set_ciphers("ALL:@SECLEVEL=0")',
        'context.maximum_version = ssl.TLSVersion.TLSv1_1; context.set_ciphers("ALL:@SECLEVEL=0")',
        'context.set_alpn_protocols(["h2"])',
        'context.set_alpn_protocols(["h2", "http/1.1", "acme-tls/1"])',
        'context.set_ciphers("ECDHE+AESGCM")',
        'context.set_ecdh_curve("prime256v1")',
        'context.set_ecdh_curve("secp521r1")',
        "context.options |= ssl.OP_NO_TICKET",
        "context.post_handshake_auth = True",
        'context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")',
    ]
    for index, setup in enumerate(setups):
        name = ("", N1, N2.lower(), N3)[index % 4]
        for more in ("", AGAIN) if index < 4 else ("",):
            script = PYTHON.format(setup, more).replace("NAME", repr(name))
            run("python", name, ["python3", "-c", script])
    for name in ("192.0.2.7", "::1"):
        run("python", "", ["python3", "-c", PYTHON.format("", "").replace("NAME", repr(name))])
    grpc = (
        "import grpc\n"
        "credentials = grpc.ssl_channel_credentials()\n"
        f"options = [('grpc.ssl_target_name_override', {N1!r})]\n"
        "channel = grpc.secure_channel('127.0.0.1:PORT', credentials, options)\n"
        "try: grpc.channel_ready_future(channel).result(timeout=1)\n"
        "except grpc.FutureTimeoutError: pass\n"
    )
    run("grpcio", N1, [sys.executable, "-c", grpc])


PYOPENSSL = """
import socket
from OpenSSL import SSL
context = SSL.Context(SSL.TLS_CLIENT_METHOD)
{}
tls = SSL.Connection(context, socket.create_connection(("127.0.0.1", PORT)))
if NAME: tls.set_tlsext_host_name(NAME)
tls.set_connect_state()
tls.do_handshake()
"""


def pyopenssl_runs(interpreter: str) -> None:
    setups = [
        "",
        "context.set_alpn_protos([b'h2', b'http/1.1'])",
        "context.set_min_proto_version(SSL.TLS1_3_VERSION)",
        "context.set_max_proto_version(SSL.TLS1_2_VERSION)",
        "context.set_cipher_list(b'ALL:@SECLEVEL=0')",
        "context.set_options(SSL.OP_NO_TICKET)",
        "context.set_tls13_ciphersuites(b'TLS_AES_128_GCM_SHA256')",
        "context.set_alpn_protos([b'%03d' % n * 40 for n in range(80)])",
    ]
    for index, setup in enumerate(setups):
        name = (N1, N3, "")[index % 3]
        run("pyopenssl", name, [interpreter, "-c", PYOPENSSL.format(setup).replace("NAME", repr(name.encode()))])


NODE = """
const https = require('https');
const options = {host: '127.0.0.1', port: PORT, rejectUnauthorized: false, OPTIONS};
function get(then, session) {
  let kept;
  const request = https.get({...options, session, agent: false}, (answer) => {
    answer.resume();
    answer.on('end', () => then(kept));
  });
  request.on('socket', (socket) => socket.on('session', (made) => { kept = made; }));
  request.on('error', () => process.exit(0));
}
get((session) => get(() => process.exit(0), session));
"""


def node_runs() -> None:
    options = [
        "ALPNProtocols: ['h2', 'http/1.1']",
        "minVersion: 'TLSv1.3'",
        "maxVersion: 'TLSv1.2'",
        "ecdhCurve: 'X25519'",
        "ecdhCurve: 'P-521:X448'",
        "ciphers: 'ECDHE-RSA-AES256-GCM-SHA384'",
        "ciphers: 'ALL:@SECLEVEL=0', minVersion: 'TLSv1'",
        "minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0'",
        "sigalgs: 'RSA-PSS+SHA256'",
        "timeout: 900",
        "ALPNProtocols: Array.from({length: 200}, (_, n) => 'protocol' + n)",
    ]
    for index, option in enumerate(options):
        name = (N1, N2, N3, "")[index % 4]
        run("node", name, ["node", "-e", NODE.replace("OPTIONS", f"servername: {name!r}, {option}")])


JAVA = """
import javax.net.ssl.*; import java.util.*; import java.security.cert.X509Certificate;
public class Hello {
  public static void main(String[] a) throws Exception {
    TrustManager all = new X509ExtendedTrustManager() {
      public void checkClientTrusted(X509Certificate[] c, String t, java.net.Socket s) {}
      public void checkServerTrusted(X509Certificate[] c, String t, java.net.Socket s) {}
      public void checkClientTrusted(X509Certificate[] c, String t, SSLEngine e) {}
      public void checkServerTrusted(X509Certificate[] c, String t, SSLEngine e) {}
      public void checkClientTrusted(X509Certificate[] c, String t) {}
      public void checkServerTrusted(X509Certificate[] c, String t) {}
      public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    };
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {all}, null);
    for (String kind : new String[] {"plain", "1.2", "alpn", "again"}) {
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", PORT);
      SSLParameters p = socket.getSSLParameters();
      if (a[0].length() > 0) p.setServerNames(List.of(new SNIHostName(a[0])));
      if (kind.equals("1.2")) p.setProtocols(new String[] {"TLSv1.2"});
      if (kind.equals("alpn")) p.setApplicationProtocols(new String[] {"h2", "http/1.1"});
      socket.setSSLParameters(p);
      socket.startHandshake();
      socket.getOutputStream().write("GET / HTTP/1.0\\r\\n\\r\\n".getBytes());
      socket.getInputStream().readAllBytes();
      socket.close();
    }
  }
}
"""


def other_runs() -> None:
    for name in (N1, N3.replace("_", ""), ""):
        run("java", name, ["java", "-Djava.net.preferIPv4Stack=true", "DIRECTORY/Hello.java", name])
    for name, setup in ((N1, "plain"), (N2, "h2"), (N1, "1.2"), ("", "plain"), (LONG, "curve")):
        run("go", name, ["go", "run", "DIRECTORY/hello.go", name, setup])
    for index, priority in enumerate(
        [
            "NORMAL",
            "NORMAL:-VERS-TLS1.3",
            "SECURE256",
            "PFS",
            "NORMAL:-GROUP-ALL:+GROUP-SECP256R1",
            "NORMAL:%NO_TICKETS",
            "LEGACY:+VERS-TLS1.0",
            "NORMAL:-GROUP-ALL:+GROUP-X448:+GROUP-FFDHE4096",
            "NORMAL:%NO_EXTENSIONS:-VERS-TLS1.3",
            "NORMAL:-VERS-ALL:+VERS-TLS1.0",
            "NORMAL:%DUMBFW",
            "NORMAL:%LATEST_RECORD_VERSION:%COMPAT",
        ]
    ):
        name = (N1, N2, N3)[index % 3]
        named = "" if "NO_EXTENSIONS" in priority else name
        command = (
            f"gnutls-cli --insecure --no-ca-verification --sni-hostname {name} --priority {priority} -p PORT 127.0.0.1"
        )
        run("gnutls", named, command)
    run(
        "gnutls",
        N1,
        f"gnutls-cli --insecure --no-ca-verification --sni-hostname {N1} --alpn h2 --resume -p PORT 127.0.0.1",
    )
    for option in ("", "--secure-protocol=TLSv1_2", "--secure-protocol=PFS"):
        run("wget", "localhost", f"wget -q -t 1 --no-check-certificate -O - {option} https://localhost:PORT/")
    git = "-c http.sslVerify=false -c http.curloptResolve=NAME:PORT:127.0.0.1".replace("NAME", N1)
    run("git", N1, f"git {git} ls-remote https://{N1}:PORT/x.git")


GO = """
package main
import ("crypto/tls"; "net"; "os"; "io")
func main() {
  cache := tls.NewLRUClientSessionCache(4)
  config := &tls.Config{ServerName: os.Args[1], InsecureSkipVerify: true, ClientSessionCache: cache}
  switch os.Args[2] {
  case "h2": config.NextProtos = []string{"h2"}
  case "1.2": config.MaxVersion = tls.VersionTLS12
  case "curve": config.CurvePreferences = []tls.CurveID{tls.CurveP521}
  }
  for i := 0; i < 2; i++ {
    raw, err := net.Dial("tcp", "127.0.0.1:PORT")
    if err != nil { panic(err) }
    c := tls.Client(raw, config)
    c.Write([]byte("GET / HTTP/1.0\\r\\n\\r\\n"))
    io.ReadAll(c)
    c.Close()
  }
}
"""

VERSIONS = {
    "openssl": "openssl version",
    "curl": "curl --version",
    "chromium": "chromium --version",
    "python": "python3 -VV",
    "node": "node --version",
    "java": "java --version",
    "gnutls": "gnutls-cli --version",
    "wget": "wget --version",
    "git": "git --version",
    "go": "go version",
    "grpcio": f"{sys.executable} -c 'import grpc;print(grpc.__version__)'",
}


def version_of(client: str, interpreter: str) -> str:
    """``curl-7.88.1``; empty if the client can't be run here."""
    asked = VERSIONS.get(client, f"{interpreter} -c 'from OpenSSL import SSL; print(SSL.SSLeay_version(0).decode())'")
    if shutil.which(asked.split()[0]) is None:
        return ""
    shown = subprocess.run(asked, shell=True, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", shown.stdout)
    return f"{client}-{found[0]}" if found and shown.returncode == 0 else ""


def all_runs(interpreter: str) -> list[Run]:
    """Everything there is to record. ``interpreter`` is a Python that has pyOpenSSL."""
    RUNS.clear()
    for add in (openssl_runs, curl_runs, chromium_runs, python_runs, node_runs, other_runs):
        add()
    pyopenssl_runs(interpreter)
    return list(RUNS)

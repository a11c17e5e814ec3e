"""How an application calls the network from Python: python examples/call.py, and docs/howto-call.md."""

from eps.client import Client, Endpoint

CERTS = "settings/dev/certs/"
HD_1 = Endpoint(
    "https://localhost:5555",
    operator="hd-1",  # whose server it must prove to be
    certificate_file=CERTS + "demo-app.crt",  # hd-1's settings allow this name
    key_file=CERTS + "demo-app.key",
    ca_certificate_files=(CERTS + "root.crt",),
)

if __name__ == "__main__":
    with Client(HD_1) as network:
        print(network.call("hd-2._ping")["version"])
        print(network.operator("ls-1").lookup(name="office"))

"""How an application calls the network from Python, with nothing but the standard library: python examples/call.py"""

import http.client
import json
import ssl

CERTS = "settings/dev/certs/"
context = ssl.create_default_context(cafile=CERTS + "root.crt")
context.load_cert_chain(CERTS + "demo-app.crt", CERTS + "demo-app.key")  # hd-1's settings allow this name
context.check_hostname = False  # the server's certificate says hd-1, and it is reached as localhost


def call(method, params, seconds=60):
    """The result of a call through hd-1's EPS server; raises RuntimeError with the error object."""
    server = http.client.HTTPSConnection("localhost", 5555, context=context, timeout=seconds)
    body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
    server.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
    answer = json.load(server.getresponse())
    server.close()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


if __name__ == "__main__":
    print(call("hd-2._ping", {})["version"])
    print(call("ls-1.lookup", {"name": "office"}))

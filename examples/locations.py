"""The example service "locations": python examples/locations.py [PORT], then see docs/howto-service.md."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCATIONS = {}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the EPS server keeps its connections

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        params, caller = call["params"], call["params"]["_client"]["name"]  # who calls, proven by the EPS server
        if call["method"] == "add" and "name" in params and "address" in params:
            LOCATIONS[params["name"]] = {"address": params["address"], "added_by": caller}
            answer = {"result": {"count": len(LOCATIONS)}}
        elif call["method"] == "lookup" and params.get("name") in LOCATIONS:
            answer = {"result": LOCATIONS[params["name"]]}
        else:
            answer = {"error": {"code": 404, "message": "no such method or location", "data": None}}
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], **answer}).encode()
        self.send_response(400 if "error" in answer else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 6666  # where ls-1's settings look for it
    ThreadingHTTPServer(("localhost", port), Service).serve_forever()

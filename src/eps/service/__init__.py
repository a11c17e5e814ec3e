"""Services for the network: functions with type hints become methods that other operators call.

    from eps.service import Caller, Refused, Service

    service = Service("locations")

    @service.method
    def lookup(name: str, caller: Caller) -> Place:
        if name not in PLACES:
            raise Refused(404, "no such place", {"name": name})
        return PLACES[name]

    if __name__ == "__main__":
        service.run("localhost:6666")

What decides is plain functions; ``running`` and ``asgi`` do the input and output around them:

    offered    Service: its methods by name, and a call's answer      method     one of them: hints, params, result
    caller     who calls                                              refusals   what a service answers in its own words
    described  JSON Schema and OpenRPC of it                          asgi       under any ASGI server
    running    by itself: port, signals, an end in good order

What ``__all__`` lists is kept as CHANGELOG.md promises.
"""

from eps.service.caller import Caller
from eps.service.offered import Service
from eps.service.refusals import Refused

__all__ = ["Caller", "Refused", "Service"]

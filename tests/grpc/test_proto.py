"""The generated code is what eps.proto says."""

from importlib import resources
from pathlib import Path

import grpc_tools
import pytest
from grpc_tools import protoc

from eps.grpc import eps_pb2 as pb

FOLDER = Path(pb.__file__).parent


@pytest.mark.parametrize("name", ["eps_pb2.py", "eps_pb2.pyi"])
def test_generated_code_is_up_to_date(name: str, tmp_path: Path) -> None:
    """If not: make proto."""
    known = resources.files(grpc_tools) / "_proto"
    arguments = [
        "protoc",
        f"-I{FOLDER}",
        f"-I{known}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
        "eps.proto",
    ]
    assert protoc.main(arguments) == 0
    assert (tmp_path / name).read_text() == (FOLDER / name).read_text()


def test_the_paths_have_no_package() -> None:
    service = pb.DESCRIPTOR.services_by_name["EPS"]
    assert service.full_name == "EPS"
    assert [(m.name, m.input_type.name, m.output_type.name) for m in service.methods] == [
        ("Call", "Request", "Response"),
        ("ServerCall", "Response", "Request"),
    ]

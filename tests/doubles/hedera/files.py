"""Transactions of the file service: what is too long for one transaction."""

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import FileID

from tests.doubles.hedera.entities import File
from tests.doubles.hedera.handling import Handling
from tests.doubles.hedera.precheck import ResponseError

FILE_BYTES_MAX = 1_048_576


def create(handling: Handling) -> None:
    """FileCreate; without keys nobody can append."""
    content = handling.content
    named = list(content.keys.keys)
    for key in named:
        handling.require(key)
    file = File(handling.ledger.next_number(), content.contents, named)
    handling.ledger.files[file.number] = file
    handling.receipt.fileID.CopyFrom(FileID(fileNum=file.number))
    handling.entity = file.number


def append(handling: Handling) -> None:
    """FileAppend."""
    content = handling.content
    file = handling.ledger.files.get(content.fileID.fileNum)
    if file is None:
        raise ResponseError(codes.INVALID_FILE_ID)
    if not file.keys:
        raise ResponseError(codes.UNAUTHORIZED)
    for key in file.keys:
        handling.require(key)
    if len(file.content) + len(content.contents) > FILE_BYTES_MAX:
        raise ResponseError(codes.MAX_FILE_SIZE_EXCEEDED)
    file.content += content.contents
    handling.entity = file.number

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation} from "../../src/Types.sol";
import {IChargerPassport} from "../../src/interfaces/IChargerPassport.sol";
import {ChargerPassportFixture} from "../ChargerPassportFixture.sol";
import {vm} from "../Vm.sol";

/// @title Gas of the passport's entry points, whole transactions, three attesters.
contract ChargerPassportGasTest is ChargerPassportFixture {
    function test_gas() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        bytes32 tokenId = passport.register(asked, attestation, consent);
        vm.snapshotGasLastCall("ChargerPassport", "register");
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        vm.snapshotGasLastCall("ChargerPassport", "confirm");
        record(tokenId, IChargerPassport.CustodyKind.Repair, 0, HOST_KEY);
        vm.snapshotGasLastCall("ChargerPassport", "record, repair");
        bytes32 host = bytes32(uint256(uint160(NEW_HOST)));
        record(tokenId, IChargerPassport.CustodyKind.Owner, host, HOST_KEY);
        vm.snapshotGasLastCall("ChargerPassport", "record, owner");
        vm.prank(NEW_HOST);
        passport.lowerCommission(tokenId, 2000);
        vm.snapshotGasLastCall("ChargerPassport", "lowerCommission");
        vm.prank(address(emission));
        passport.setVoteWeight(tokenId, 1e6);
        vm.snapshotGasLastCall("ChargerPassport", "setVoteWeight, first");
        vm.prank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(tokenId));
        vm.snapshotGasLastCall("ChargerPassport", "transferFrom, with votes");
        vm.prank(NEW_HOST);
        passport.retire(tokenId, 0, 0);
        vm.snapshotGasLastCall("ChargerPassport", "retire");
    }
}

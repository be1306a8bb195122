// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IChargerPassport} from "./interfaces/IChargerPassport.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";
import {AssetPolicy, Batch, Leaf, OperatorId} from "./Types.sol";

/// @title Challenges: what anybody can prove of a leaf.
/// @notice A predicate reads leaves, policy versions and a passport's facts as of the session's
/// end, none of which can change later: who signed honestly stays without fault for ever.
library Challenges {
    uint256 private constant OVERLAP_TOLERANCE = 60 seconds;
    uint256 private constant ENERGY_TOLERANCE_WH = 100;
    uint256 private constant ENERGY_TOLERANCE_TIME = 60 seconds;

    /// @notice Whether a leaf's bill stands later in its operator's log than another's. One entry
    /// is one bill: of two that name the same entry, each is later than the other.
    function isLater(
        Batch calldata batch,
        Leaf calldata leaf,
        Batch calldata other,
        Leaf calldata otherLeaf
    ) internal pure returns (bool) {
        (uint48 own, uint48 others) = (leaf.party.logIndex(), otherLeaf.party.logIndex());
        if (own != others) return own > others;
        return leaf.party.cdrNo() != otherLeaf.party.cdrNo() || batch.asset != other.asset;
    }

    /// @notice Whether two leaves of one operator cannot both be: they name one session, or their
    /// sessions overlap on one EVSE.
    function overlap(
        Batch calldata batch,
        Leaf calldata leaf,
        Batch calldata other,
        Leaf calldata otherLeaf
    ) internal pure returns (bool) {
        if (leaf.money.sessionKey() == otherLeaf.money.sessionKey()) {
            return true;
        }
        bytes32 passport = batch.passports[leaf.meter.passportIndex()];
        if (passport != other.passports[otherLeaf.meter.passportIndex()]) return false;
        if (leaf.meter.evse() != otherLeaf.meter.evse()) return false;
        uint256 begin = Math.max(leaf.meter.start(), otherLeaf.meter.start());
        uint256 end = Math.min(leaf.meter.end(), otherLeaf.meter.end());
        return end > begin + OVERLAP_TOLERANCE;
    }

    /// @notice Whether no session can have been as a leaf says that was proposed at `proposedAt`.
    function isImpossible(
        Batch calldata batch,
        Leaf calldata leaf,
        uint40 proposedAt,
        IChargerPassport passports,
        INetworkPolicy policy
    ) internal view returns (bool) {
        uint40 start = leaf.meter.start();
        uint40 end = leaf.meter.end();
        if (end <= start || end > proposedAt) return true;
        uint256 duration = end - start;
        uint256 energyWh = leaf.meter.importWh();

        bytes32 passport = batch.passports[leaf.meter.passportIndex()];
        IChargerPassport.Facts memory facts = passports.factsOf(passport);
        if (!isRegistered(facts.registeredAt, facts.retiredAt, end)) return true;
        if (passports.operatorAt(passport, end) != batch.operatorId) return true;
        if (energyWh > energyLimitWh(facts.ratedW, duration)) return true;

        uint32 version = leaf.meter.policyVersion();
        if (!policy.isInForce(version, start)) return true;
        return
            leaf.money.amount()
                > ceilingOf(policy.assetOf(version, batch.asset), energyWh, duration);
    }

    /// @notice Whether a passport with these dates (zero: not yet) counts at `time`.
    function isRegistered(uint256 registeredAt, uint256 retiredAt, uint256 time)
        internal
        pure
        returns (bool)
    {
        return registeredAt != 0 && registeredAt <= time && (retiredAt == 0 || time <= retiredAt);
    }

    /// @notice The most that a charger can have given: its rated power for a minute more than the
    /// session, a tenth more, and 100 Wh.
    function energyLimitWh(uint256 ratedW, uint256 duration) internal pure returns (uint256) {
        return ratedW * (duration + ENERGY_TOLERANCE_TIME) * 11 / 36_000 + ENERGY_TOLERANCE_WH;
    }

    /// @notice The most that a bill may ask for without VAT; nothing in an asset without a row.
    function ceilingOf(AssetPolicy memory row, uint256 energyWh, uint256 duration)
        internal
        pure
        returns (uint256)
    {
        return Math.ceilDiv(row.ceilingPerKwh * energyWh, 1_000)
            + Math.ceilDiv(row.ceilingPerHour * duration, 1 hours) + row.ceilingFlat;
    }
}

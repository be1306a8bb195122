// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Split: the arithmetic of settlement.
/// @notice Amounts in minor units, shares in basis points, rates in C4E minor units for 10^6 minor
/// units of an asset, times in seconds. Everything is floored but what somebody is charged.
library Split {
    uint256 internal constant BPS = 10_000;
    /// @dev What a rate is for; it is also the rate of C4E itself.
    uint256 internal constant RATE_UNIT = 10 ** 6;
    uint256 private constant RATE_STEP_BPS = 1_000;

    /// @notice The parts of a net amount; with `fee` and `ops` they sum to it.
    /// The reserve comes out of the host's commission, and is never more than that.
    function divide(
        uint256 amount,
        uint256 fee,
        uint256 ops,
        uint256 reserveBps,
        uint256 commissionBps
    ) internal pure returns (uint256 reserve, uint256 host, uint256 holders) {
        uint256 commission = shareOf(amount, commissionBps);
        reserve = Math.min(shareOf(amount, reserveBps), commission);
        host = commission - reserve;
        holders = amount - fee - commission - ops;
    }

    /// @dev `amount` below 2^128 and `bps` below 2^128: the product fits.
    function shareOf(uint256 amount, uint256 bps) internal pure returns (uint256) {
        unchecked {
            return amount * bps / BPS;
        }
    }

    /// @notice What a batch's `ops` give: half to its signers in equal parts, of the other half
    /// one half to its proposer, and to who settles it what is left.
    function divideOps(uint256 ops, uint256 signers)
        internal
        pure
        returns (uint256 eachSigner, uint256 proposer, uint256 caller)
    {
        eachSigner = ops / 2 / signers;
        proposer = (ops - ops / 2) / 2;
        caller = ops - eachSigner * signers - proposer;
    }

    /// @notice An amount in C4E, rounded up.
    function inC4E(uint256 amount, uint256 c4eRate) internal pure returns (uint256) {
        return Math.ceilDiv(amount * c4eRate, RATE_UNIT);
    }

    /// @notice What each signer of a batch stands for with his bond, in C4E.
    function exposureOf(uint256 walletTotal, uint256 c4eRate, uint256 signers)
        internal
        pure
        returns (uint256)
    {
        return Math.ceilDiv(inC4E(walletTotal, c4eRate), signers);
    }

    /// @notice Days begun since `at`; 0 where it is not over.
    function daysSince(uint256 at, uint256 time) internal pure returns (uint256) {
        return time <= at ? 0 : Math.ceilDiv(time - at, 1 days);
    }

    /// @notice The rates that may follow `last`: 10 % of it for each day begun, one at least.
    function rateBounds(uint128 last, uint256 daysBegun)
        internal
        pure
        returns (uint128 least, uint128 most)
    {
        uint256 step = shareOf(last, RATE_STEP_BPS * Math.max(daysBegun, 1));
        least = uint128(Math.max(Math.saturatingSub(last, step), 1));
        most = uint128(Math.min(last + step, type(uint128).max));
    }
}

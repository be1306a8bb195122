// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ERC6372Utils} from "@openzeppelin/contracts/utils/ERC6372Utils.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IC4EToken} from "./interfaces/IC4EToken.sol";
import {TransferAuthorization} from "./TransferAuthorization.sol";

/// @dev The schedule is a line that C4E become mintable along: S(t), what it gives from genesis to
/// t. `_spent` is the place on that line up to which everything was minted or has overflowed. Since
/// the bucket holds what the last 14 days gave, whatever lies before S(t - 14 d) has overflowed,
/// and what is mintable is S(t) - max(_spent, S(t - 14 d)). No rate, no rounding, nothing that
/// depends on how often or when somebody mints.
contract C4EToken is IC4EToken, ERC20Votes, TransferAuthorization {
    uint256 public constant GENESIS = 100_000_000e6;
    /// @notice What the schedule approaches: twice the first period's 40 M.
    uint256 public constant SCHEDULED = 80_000_000e6;
    uint256 public constant CAP = GENESIS + SCHEDULED;
    /// @notice Four years, one of them a leap year.
    uint256 public constant PERIOD = 1461 days;
    uint256 public constant BUCKET = 14 days;

    /// @inheritdoc IC4EToken
    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    address public immutable minter;
    /// @inheritdoc IC4EToken
    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    uint256 public immutable genesisTime;

    uint256 private _spent;

    /// @param holder Who gets the genesis supply.
    /// @param minter_ The EmissionController's address, which may be known before it is deployed.
    constructor(address holder, address minter_) ERC20("C4E", "C4E") ERC20Permit("C4E") {
        if (minter_ == address(0)) revert NotMinter(address(0));
        minter = minter_;
        genesisTime = block.timestamp;
        _mint(holder, GENESIS);
    }

    /// @inheritdoc IC4EToken
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        uint256 spent = _spentNow();
        uint256 available = scheduledUntil(block.timestamp) - spent;
        if (amount > available) revert OverSchedule(amount, available);
        // Transfer says it: what was minted shows what was spent.
        // slither-disable-next-line events-maths
        _spent = spent + amount;
        _mint(to, amount);
    }

    /// @inheritdoc IC4EToken
    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    /// @inheritdoc IC4EToken
    function mintable() external view returns (uint256) {
        return scheduledUntil(block.timestamp) - _spentNow();
    }

    /// @inheritdoc IC4EToken
    function scheduledUntil(uint256 time) public view returns (uint256) {
        if (time <= genesisTime) return 0;
        uint256 elapsed = time - genesisTime;
        uint256 period = elapsed / PERIOD;
        // Half of what is left at its begin belongs to each period; from the 47th on nothing is.
        uint256 left = SCHEDULED >> period;
        uint256 share = left - (SCHEDULED >> (period + 1));
        // A place in a period, not a random number.
        // slither-disable-next-line weak-prng
        return SCHEDULED - left + (share * (elapsed % PERIOD)) / PERIOD;
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice Votes are counted by time (ERC-6372).
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public view override returns (string memory) {
        return ERC6372Utils.timestampClockMode(clock);
    }

    function nonces(address owner)
        public
        view
        override(Nonces, TransferAuthorization)
        returns (uint256)
    {
        return super.nonces(owner);
    }

    /// @dev The place on the schedule from which on C4E can be minted now.
    function _spentNow() private view returns (uint256) {
        return Math.max(_spent, scheduledUntil(Math.saturatingSub(block.timestamp, BUCKET)));
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }

    function _useCheckedNonce(address owner, uint256 nonce)
        internal
        override(Nonces, TransferAuthorization)
    {
        super._useCheckedNonce(owner, nonce);
    }
}

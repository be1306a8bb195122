// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {C4EToken, create} from "../Contracts.sol";
import {TestBase} from "../TestBase.sol";
import {vm} from "../Vm.sol";

/// @dev Mints, burns and waits at random, beside a bucket that is kept as one would by hand: filled
/// by what the schedule gave since the last look, and cut to what 14 days give.
contract C4ETokenHandler is TestBase {
    C4EToken public immutable C4E;
    uint256 public clock = 1_800_000_000;

    uint256 public level;
    uint256 public overflowed;
    uint256 public minted;
    uint256 public burned;
    mapping(bytes4 => uint256) public calls;

    constructor() {
        vm.warp(clock);
        C4E = C4EToken(create("C4EToken", abi.encode(address(this), address(this))));
    }

    /// @dev Forge may run each call at a time of its own.
    modifier atClock() {
        vm.warp(clock);
        _;
        ++calls[msg.sig];
    }

    function wait(uint256 duration, bool isLong) external atClock {
        duration = bound(duration, 0, isLong ? 700 days : 20 days);
        uint256 later = clock + duration;
        vm.warp(later);
        level += C4E.scheduledUntil(later) - C4E.scheduledUntil(clock);
        uint256 most = C4E.scheduledUntil(later) - C4E.scheduledUntil(later - 14 days);
        if (level > most) {
            overflowed += level - most;
            level = most;
        }
        clock = later;
    }

    function mint(uint256 amount) external atClock {
        amount = bound(amount, 0, level);
        C4E.mint(address(this), amount);
        level -= amount;
        minted += amount;
    }

    function mintAll() external atClock {
        C4E.mint(address(this), level);
        minted += level;
        level = 0;
    }

    /// @dev The revert is the pass.
    function mintTooMuch(uint256 more) external atClock {
        more = bound(more, 1, type(uint256).max - level);
        try C4E.mint(address(this), level + more) {
            assertTrue(false, "minted over the schedule");
        } catch {}
    }

    function burn(uint256 amount) external atClock {
        amount = bound(amount, 0, C4E.balanceOf(address(this)) / 1000);
        C4E.burn(amount);
        burned += amount;
    }

    /// @dev What chance may have left out, once.
    function doEverything() external {
        this.wait(5 days, false);
        this.mint(1);
        this.mintAll();
        this.mintTooMuch(1);
        this.burn(1);
    }
}

/// forge-config: default.invariant.fail-on-revert = true
contract C4ETokenInvariants is TestBase {
    C4ETokenHandler private _handler;
    C4EToken private _c4e;

    function setUp() external {
        _handler = new C4ETokenHandler();
        _c4e = _handler.C4E();
        bytes4[] memory selectors = new bytes4[](5);
        selectors[0] = C4ETokenHandler.wait.selector;
        selectors[1] = C4ETokenHandler.mint.selector;
        selectors[2] = C4ETokenHandler.mintAll.selector;
        selectors[3] = C4ETokenHandler.mintTooMuch.selector;
        selectors[4] = C4ETokenHandler.burn.selector;
        target(address(_handler), selectors);
    }

    /// @dev I8.
    function invariant_supply_is_within_genesis_and_schedule() external {
        checkSupply();
    }

    /// @dev I22: minted, still mintable and overflowed are all that the schedule gave.
    function invariant_nothing_of_the_schedule_is_lost_or_doubled() external {
        checkSchedule();
    }

    function checkSupply() internal {
        vm.warp(_handler.clock());
        uint256 schedule = _c4e.scheduledUntil(_handler.clock());
        assertEq(_c4e.totalSupply(), _c4e.GENESIS() + _handler.minted() - _handler.burned());
        assertLe(_handler.minted(), schedule);
        assertLe(_c4e.GENESIS() + schedule, _c4e.CAP());
        assertLe(_c4e.mintable(), 14 * (uint256(40_000_000e6) / 1461) + 14, "at most 14 days");
    }

    function checkSchedule() internal {
        vm.warp(_handler.clock());
        assertEq(_c4e.mintable(), _handler.level(), "as the bucket kept by hand");
        assertEq(
            _handler.minted() + _c4e.mintable() + _handler.overflowed(),
            _c4e.scheduledUntil(_handler.clock())
        );
    }

    /// @dev Nothing above passes because nothing happened.
    function afterInvariant() external {
        _handler.doEverything();
        checkSupply();
        checkSchedule();
        assertGt(_handler.calls(C4ETokenHandler.wait.selector), 0, "waits");
        assertGt(_handler.calls(C4ETokenHandler.mint.selector), 0, "mints");
        assertGt(_handler.calls(C4ETokenHandler.mintAll.selector), 0, "mints of all");
        assertGt(_handler.calls(C4ETokenHandler.mintTooMuch.selector), 0, "mints of too much");
        assertGt(_handler.calls(C4ETokenHandler.burn.selector), 0, "burns");
    }
}

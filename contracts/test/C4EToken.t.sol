// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IC4EToken} from "../src/interfaces/IC4EToken.sol";
import {C4EToken, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

contract C4ETokenTest is TestBase {
    event Transfer(address indexed from, address indexed to, uint256 value);

    uint256 private constant START = 1_800_000_000;
    uint256 private constant PERIOD = 1461 days;
    uint256 private constant DAY = uint256(40_000_000e6) / 1461; // floor; one day of the first period
    address private constant MINTER = address(0x3141);
    address private constant ALICE = address(0xA11CE);

    C4EToken private _c4e;

    function setUp() external {
        vm.warp(START);
        _c4e = C4EToken(create("C4EToken", abi.encode(address(this), MINTER)));
    }

    function mint(uint256 amount) internal {
        vm.prank(MINTER);
        _c4e.mint(ALICE, amount);
    }

    // Genesis -----------------------------------------------------------------------------------

    function test_genesis() external view {
        assertEq(_c4e.name(), "C4E");
        assertEq(_c4e.symbol(), "C4E");
        assertEq(_c4e.decimals(), 6);
        assertEq(_c4e.totalSupply(), 100_000_000e6);
        assertEq(_c4e.balanceOf(address(this)), 100_000_000e6);
        assertEq(_c4e.minter(), MINTER);
        assertEq(_c4e.genesisTime(), START);
        assertEq(_c4e.CAP(), 180_000_000e6);
        assertEq(_c4e.mintable(), 0);
    }

    function test_genesis_needs_a_minter() external {
        vm.expectRevert(abi.encodeWithSelector(IC4EToken.NotMinter.selector, address(0)));
        create("C4EToken", abi.encode(address(this), address(0)));
    }

    // Schedule ----------------------------------------------------------------------------------

    function test_schedule_at_its_corners() external view {
        assertEq(_c4e.scheduledUntil(0), 0);
        assertEq(_c4e.scheduledUntil(START), 0);
        assertEq(_c4e.scheduledUntil(START + PERIOD / 2), 20_000_000e6);
        assertEq(_c4e.scheduledUntil(START + PERIOD), 40_000_000e6);
        assertEq(_c4e.scheduledUntil(START + 2 * PERIOD), 60_000_000e6);
        assertEq(_c4e.scheduledUntil(START + 3 * PERIOD), 70_000_000e6);
        // Where halves are no whole units, the line has no step at a period's end: 9 are left at
        // the begin of the 44th, 4 at its end.
        assertEq(_c4e.scheduledUntil(START + 43 * PERIOD), 80_000_000e6 - 9);
        assertEq(_c4e.scheduledUntil(START + 44 * PERIOD - 1), 80_000_000e6 - 5);
        assertEq(_c4e.scheduledUntil(START + 44 * PERIOD), 80_000_000e6 - 4);
        assertEq(_c4e.scheduledUntil(START + 46 * PERIOD), 80_000_000e6 - 1);
        assertEq(_c4e.scheduledUntil(START + 47 * PERIOD), 80_000_000e6);
        assertEq(_c4e.scheduledUntil(type(uint256).max), 80_000_000e6);
    }

    /// @dev Against sums over seconds of a rational rate, not the contract's formula: in period p a
    /// second gives 40 M / 2^p / PERIOD.
    function testFuzz_schedule_is_the_rates_sum(uint256 elapsed) external view {
        elapsed = bound(elapsed, 0, 16 * PERIOD);
        uint256 numerator = 0; // in 2^-20 x minor unit x second of a period
        uint256 left = elapsed;
        for (uint256 p = 0; left != 0; ++p) {
            uint256 spell = left < PERIOD ? left : PERIOD;
            numerator += ((40_000_000e6 << 20) >> p) * spell;
            left -= spell;
        }
        uint256 exact = numerator / PERIOD;
        uint256 given = _c4e.scheduledUntil(START + elapsed) << 20;
        assertLe(given, exact, "never more");
        assertLt(exact - given, 2 << 20, "less than two minor units less");
    }

    function testFuzz_schedule_only_grows(uint256 a, uint256 b) external view {
        a = bound(a, 0, 50 * PERIOD);
        b = bound(b, a, 50 * PERIOD);
        assertLe(_c4e.scheduledUntil(START + a), _c4e.scheduledUntil(START + b));
        assertLe(_c4e.scheduledUntil(START + b), 80_000_000e6);
    }

    // Bucket ------------------------------------------------------------------------------------

    function test_mint_what_has_filled() external {
        skip(1 days);
        assertEq(_c4e.mintable(), DAY);
        vm.expectEmit(address(_c4e));
        emit Transfer(address(0), ALICE, DAY);
        mint(DAY);
        assertEq(_c4e.balanceOf(ALICE), DAY);
        assertEq(_c4e.totalSupply(), 100_000_000e6 + DAY);
        assertEq(_c4e.mintable(), 0);
    }

    function test_mint_by_another() external {
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(IC4EToken.NotMinter.selector, address(this)));
        _c4e.mint(address(this), 1);
    }

    function test_mint_over_the_bucket() external {
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(IC4EToken.OverSchedule.selector, DAY + 1, DAY));
        mint(DAY + 1);
    }

    function test_bucket_is_full_after_14_days() external {
        skip(14 days);
        uint256 full = _c4e.mintable();
        assertEq(full, _c4e.scheduledUntil(START + 14 days));
        skip(100 days);
        assertLe(_c4e.mintable(), full + 1, "nothing more fits");
        assertLe(full, _c4e.mintable() + 1, "nothing is lost of what fits");
        uint256 now_ = START + 114 days;
        assertEq(_c4e.mintable(), _c4e.scheduledUntil(now_) - _c4e.scheduledUntil(now_ - 14 days));
    }

    function test_bucket_over_a_halving() external {
        vm.warp(START + PERIOD + 7 days);
        uint256 before =
            _c4e.scheduledUntil(START + PERIOD) - _c4e.scheduledUntil(START + PERIOD - 7 days);
        uint256 later = _c4e.scheduledUntil(START + PERIOD + 7 days) - 40_000_000e6;
        assertEq(_c4e.mintable(), before + later);
        assertLe(later, before / 2 + 1);
    }

    /// @dev I22: whoever mints all that he can at any times gets, together, what one gets who mints
    /// at the end, plus what overflowed for that one.
    function testFuzz_partition_equals_the_whole(uint256 seed, uint8 parts) external {
        uint256 begin = START;
        uint256 minted = 0;
        uint256 overflown = 0;
        for (uint256 i = 0; i < parts % 24; ++i) {
            uint256 pause = uint256(keccak256(abi.encode(seed, i))) % 40 days;
            uint256 end = begin + pause;
            vm.warp(end);
            if (pause > 14 days) {
                overflown += _c4e.scheduledUntil(end - 14 days) - _c4e.scheduledUntil(begin);
            }
            uint256 all = _c4e.mintable();
            mint(all);
            minted += all;
            begin = end;
            assertEq(
                minted + overflown, _c4e.scheduledUntil(begin), "minted + overflowed = schedule"
            );
        }
    }

    /// @dev The same where less than all is minted: mints in between change nothing but the sum.
    function testFuzz_small_mints_take_nothing_from_others(uint256 seed, uint8 parts) external {
        C4EToken twin = C4EToken(create("C4EToken", abi.encode(address(this), MINTER)));
        uint256 begin = START;
        uint256 pieces = uint256(parts % 16) + 1;
        for (uint256 i = 0; i < pieces; ++i) {
            // Within 14 days nothing overflows, so one mint at the end equals all the small ones.
            vm.warp(begin + (14 days * (i + 1)) / pieces);
            mint(uint256(keccak256(abi.encode(seed, i))) % (_c4e.mintable() + 1));
        }
        uint256 sum = _c4e.totalSupply() - 100_000_000e6;
        vm.prank(MINTER);
        twin.mint(ALICE, sum);
        assertEq(twin.mintable(), _c4e.mintable());
    }

    function test_cap_is_reached_and_never_passed() external {
        for (uint256 i = 0; i < 47 * 4; ++i) {
            skip(PERIOD / 4);
            mint(_c4e.mintable());
        }
        assertLe(_c4e.totalSupply(), _c4e.CAP());
        skip(100 * PERIOD);
        assertEq(_c4e.mintable(), 0);
    }

    // Burn --------------------------------------------------------------------------------------

    function test_burn_ones_own() external {
        vm.expectEmit(address(_c4e));
        emit Transfer(address(this), address(0), 5e6);
        _c4e.burn(5e6);
        assertEq(_c4e.totalSupply(), 100_000_000e6 - 5e6);
        assertEq(_c4e.mintable(), 0, "burning gives the minter nothing");
    }

    function test_burn_more_than_ones_own() external {
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ALICE, 0, 1)
        );
        _c4e.burn(1);
    }

    // Votes and permits -------------------------------------------------------------------------

    function test_votes_are_counted_by_time() external {
        assertEq(_c4e.clock(), START);
        assertEq(_c4e.CLOCK_MODE(), "mode=timestamp");
        _c4e.delegate(ALICE);
        skip(10);
        _c4e.transfer(address(0xB0B), 1e6);
        skip(10);
        assertEq(_c4e.getPastVotes(ALICE, START), 100_000_000e6);
        assertEq(_c4e.getPastVotes(ALICE, START + 10), 100_000_000e6 - 1e6);
        assertEq(_c4e.getPastTotalSupply(START + 10), 100_000_000e6);
    }

    function test_permit_once() external {
        uint256 key = 77;
        address payer = vm.addr(key);
        bytes32 typehash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 hash = keccak256(
            abi.encodePacked(
                "\x19\x01",
                _c4e.DOMAIN_SEPARATOR(),
                keccak256(abi.encode(typehash, payer, ALICE, 9, _c4e.nonces(payer), START))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        _c4e.permit(payer, ALICE, 9, START, v, r, s);
        assertEq(_c4e.allowance(payer, ALICE), 9);
        assertEq(_c4e.nonces(payer), 1);
        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        _c4e.permit(payer, ALICE, 9, START, v, r, s);
    }

    function test_delegation_by_signature_once() external {
        uint256 key = 78;
        bytes32 typehash = keccak256("Delegation(address delegatee,uint256 nonce,uint256 expiry)");
        bytes32 hash = keccak256(
            abi.encodePacked(
                "\x19\x01",
                _c4e.DOMAIN_SEPARATOR(),
                keccak256(abi.encode(typehash, ALICE, 0, START))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        _c4e.delegateBySig(ALICE, 0, START, v, r, s);
        assertEq(_c4e.delegates(vm.addr(key)), ALICE);
        vm.expectPartialRevert(Nonces.InvalidAccountNonce.selector);
        _c4e.delegateBySig(ALICE, 0, START, v, r, s);
    }
}

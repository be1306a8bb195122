// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {INetworkPolicy} from "../src/interfaces/INetworkPolicy.sol";
import {INoticeUpgradeable} from "../src/interfaces/INoticeUpgradeable.sol";
import {AssetPolicy, PolicyParameters} from "../src/Types.sol";
import {Deployment} from "./Deployment.sol";
import {vm} from "./Vm.sol";

contract CoinOf is ERC20("", "") {
    uint8 private immutable DECIMALS;

    constructor(uint8 decimals_) {
        DECIMALS = decimals_;
    }

    function decimals() public view override returns (uint8) {
        return DECIMALS;
    }
}

contract NetworkPolicyTest is Deployment {
    event PolicyAppended(uint32 indexed version, uint40 from);
    event GovernorSet(address indexed governor);
    event MarketSet(address indexed market);

    function setUp() external {
        deploy();
    }

    function append(uint40 from, PolicyParameters memory p, AssetPolicy[] memory assets)
        internal
        returns (uint32)
    {
        vm.prank(address(timelock));
        return policy.append(from, p, assets);
    }

    function append(uint40 from) internal returns (uint32) {
        return append(from, parameters(), assetPolicies());
    }

    function refuse(PolicyParameters memory p, bytes32 name) internal {
        vm.expectRevert(abi.encodeWithSelector(INetworkPolicy.ParameterOutOfRange.selector, name));
        append(uint40(time() + 1), p, assetPolicies());
    }

    function refuse(AssetPolicy memory asset, bytes32 name) internal {
        AssetPolicy[] memory list = new AssetPolicy[](1);
        list[0] = asset;
        vm.expectRevert(abi.encodeWithSelector(INetworkPolicy.ParameterOutOfRange.selector, name));
        append(uint40(time() + 1), parameters(), list);
    }

    // Versions ----------------------------------------------------------------------------------

    function test_version_1_stands_from_the_beginning() external view {
        assertEq(policy.latest(), 1);
        (uint40 from, PolicyParameters memory p) = policy.parametersOf(1);
        assertEq(from, START);
        assertEq(abi.encode(p), abi.encode(parameters()));
        assertEq(abi.encode(policy.assetsOf(1)), abi.encode(assetPolicies()));
        (uint16 fee, uint16 ops, uint16 reserve) = policy.feesOf(1);
        assertEq(abi.encode(fee, ops, reserve), abi.encode(500, 100, 0));
        (uint32 window, uint32 askAfter, uint32 payAfter) = policy.windowsOf(1);
        assertEq(abi.encode(window, askAfter, payAfter), abi.encode(1 days, 11 days, 3 days));
    }

    function test_append() external {
        PolicyParameters memory p = parameters();
        p.feeBps = 400;
        p.reserveBps = 300;
        AssetPolicy[] memory one = new AssetPolicy[](1);
        one[0] = assetPolicies()[1];
        one[0].ceilingPerKwh = 3e6;
        uint40 from = uint40(START + 7 days);
        vm.expectEmit(address(policy));
        emit PolicyAppended(2, from);
        assertEq(append(from, p, one), 2);

        assertEq(policy.latest(), 2);
        (uint40 from_, PolicyParameters memory p_) = policy.parametersOf(2);
        assertEq(from_, from);
        assertEq(abi.encode(p_), abi.encode(p));
        assertEq(abi.encode(policy.assetsOf(2)), abi.encode(one));
        assertEq(policy.assetOf(2, address(euro)).ceilingPerKwh, 3e6);
        assertEq(policy.assetOf(2, address(c4e)).asset, address(0), "not listed in version 2");
        assertEq(policy.assetOf(1, address(euro)).ceilingPerKwh, 2e6, "version 1 as it was");
        (uint16 fee,, uint16 reserve) = policy.feesOf(2);
        assertEq(abi.encode(fee, reserve), abi.encode(400, 300));
    }

    function test_append_by_another() external {
        PolicyParameters memory p = parameters();
        AssetPolicy[] memory assets = assetPolicies();
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        policy.append(uint40(START + 1), p, assets);
    }

    function test_append_for_the_past() external {
        skip(100);
        vm.expectRevert(
            abi.encodeWithSelector(INetworkPolicy.FromTooEarly.selector, START + 99, START + 100)
        );
        append(uint40(START + 99));
        append(uint40(START + 100));
    }

    function test_append_before_the_last_one() external {
        append(uint40(START + 10 days));
        vm.expectRevert(
            abi.encodeWithSelector(
                INetworkPolicy.FromTooEarly.selector, START + 10 days, START + 10 days + 1
            )
        );
        append(uint40(START + 10 days));
    }

    function test_in_force_at_the_second() external {
        append(uint40(START + 10 days));
        assertFalse(policy.isInForce(1, uint40(START - 1)));
        assertTrue(policy.isInForce(1, uint40(START)));
        assertTrue(policy.isInForce(1, uint40(START + 10 days - 1)));
        assertFalse(policy.isInForce(1, uint40(START + 10 days)));
        assertFalse(policy.isInForce(2, uint40(START + 10 days - 1)));
        assertTrue(policy.isInForce(2, uint40(START + 10 days)));
        assertTrue(policy.isInForce(2, type(uint40).max));
        assertFalse(policy.isInForce(0, uint40(START)));
        assertFalse(policy.isInForce(3, type(uint40).max));
    }

    function test_unknown_versions() external {
        bytes memory nine = abi.encodeWithSelector(INetworkPolicy.NoSuchVersion.selector, 9);
        vm.expectRevert(nine);
        policy.parametersOf(9);
        vm.expectRevert(nine);
        policy.feesOf(9);
        vm.expectRevert(nine);
        policy.windowsOf(9);
        vm.expectRevert(abi.encodeWithSelector(INetworkPolicy.NoSuchVersion.selector, 0));
        policy.feesOf(0);
        assertEq(policy.assetOf(9, address(c4e)).asset, address(0));
        assertEq(policy.assetsOf(9).length, 0);
    }

    /// @dev `versionAt` and `isInForce` against a walk over the list: at every second exactly one
    /// version holds, none before the first, and later ones change nothing of it.
    function testFuzz_one_version_holds_at_a_time(uint256 seed, uint8 count, uint40 when) external {
        uint256 versions = uint256(count) % 12 + 1;
        uint40[] memory froms = new uint40[](versions + 1);
        froms[1] = uint40(START);
        for (uint256 v = 2; v <= versions; ++v) {
            froms[v] = froms[v - 1] + 1 + uint40(uint256(keccak256(abi.encode(seed, v))) % 5 days);
            append(froms[v]);
        }
        when = uint40(bound(when, START - 1 days, START + 60 days));
        uint32 expected = 0;
        for (uint32 v = 1; v <= versions; ++v) {
            if (froms[v] <= when) expected = v;
        }
        assertEq(policy.versionAt(when), expected);
        for (uint32 v = 0; v <= versions + 1; ++v) {
            assertTrue(policy.isInForce(v, when) == (v == expected && v != 0));
        }
    }

    /// @dev Measured as whole calls: 2,600 the proxy, 2,100 its implementation slot, 2,600 the
    /// implementation, 2,100 the one slot that is asked for, the rest is decoding.
    function test_what_settle_asks_is_one_slot() external view {
        uint256 before = gasleft();
        policy.feesOf(1);
        assertLt(before - gasleft(), 16_000, "feesOf");
        before = gasleft();
        policy.isInForce(1, uint40(START));
        assertLt(before - gasleft(), 16_000, "isInForce");
    }

    // Bounds ------------------------------------------------------------------------------------

    function test_fees_leave_room_for_the_highest_host() external {
        PolicyParameters memory p = parameters();
        (p.feeBps, p.opsBps) = (1900, 101);
        refuse(p, "feeBps");
        p.opsBps = 100;
        append(uint40(START + 1), p, assetPolicies());
    }

    function test_parameters_out_of_range() external {
        PolicyParameters memory p = parameters();
        p.reserveBps = 10_001;
        refuse(p, "reserveBps");
        p = parameters();
        p.settlementWindow = 0;
        refuse(p, "settlementWindow");
        p.settlementWindow = 7 days;
        refuse(p, "settlementWindow");
        p = parameters();
        p.refundAskAfter = 0;
        refuse(p, "refundAskAfter");
        p.refundAskAfter = 30 days + 1;
        refuse(p, "refundAskAfter");
        p = parameters();
        p.refundPayAfter = 2 days - 1;
        refuse(p, "refundPayAfter");
        p.refundPayAfter = 14 days + 1;
        refuse(p, "refundPayAfter");
        p = parameters();
        p.contestPeriod = 0;
        refuse(p, "contestPeriod");
        p.contestPeriod = 30 days + 1;
        refuse(p, "contestPeriod");
        p = parameters();
        p.rulingTimeout = 0;
        refuse(p, "rulingTimeout");
        p.rulingTimeout = 21 days + 1;
        refuse(p, "rulingTimeout");
        p = parameters();
        p.anchorInterval = 0;
        refuse(p, "anchorInterval");
        p = parameters();
        p.anchorSessions = 0;
        refuse(p, "anchorSessions");
        p = parameters();
        p.disputeBond = 0;
        refuse(p, "disputeBond");
        p = parameters();
        p.lowUseBps = 10_001;
        refuse(p, "lowUseBps");
        p = parameters();
        p.uptimeBpsMin = 10_001;
        refuse(p, "uptimeBpsMin");
    }

    function test_parameters_at_their_bounds() external {
        PolicyParameters memory p = parameters();
        (p.feeBps, p.opsBps, p.reserveBps) = (0, 2000, 10_000);
        (p.settlementWindow, p.refundAskAfter, p.refundPayAfter) = (7 days - 1, 30 days, 14 days);
        (p.contestPeriod, p.rulingTimeout) = (30 days, 21 days);
        (p.anchorInterval, p.anchorSessions, p.disputeBond) = (1, 1, 1);
        (p.lowUseBps, p.uptimeBpsMin, p.minedHours) = (10_000, 10_000, type(uint168).max);
        append(uint40(START + 1), p, new AssetPolicy[](0));
        (p.settlementWindow, p.refundAskAfter, p.refundPayAfter) = (1, 1, 2);
        (p.contestPeriod, p.rulingTimeout) = (1, 1);
        append(uint40(START + 2), p, new AssetPolicy[](0));
        assertEq(policy.latest(), 3);
    }

    /// @dev A field's place in storage is its own: whatever is written is read.
    function testFuzz_parameters_are_read_as_written(PolicyParameters memory p) external {
        (p.feeBps, p.opsBps) = (p.feeBps % 1001, p.opsBps % 1000);
        p.reserveBps %= 10_001;
        p.settlementWindow = p.settlementWindow % (7 days - 1) + 1;
        p.refundAskAfter = p.refundAskAfter % 30 days + 1;
        p.refundPayAfter = uint32(bound(p.refundPayAfter, 2 * p.settlementWindow, 14 days));
        p.contestPeriod = p.contestPeriod % 30 days + 1;
        p.rulingTimeout = p.rulingTimeout % 21 days + 1;
        (p.anchorInterval, p.anchorSessions) = (p.anchorInterval | 1, p.anchorSessions | 1);
        p.disputeBond |= 1;
        (p.lowUseBps, p.uptimeBpsMin) = (p.lowUseBps % 10_001, p.uptimeBpsMin % 10_001);
        append(uint40(START + 1), p, new AssetPolicy[](0));
        (, PolicyParameters memory read) = policy.parametersOf(2);
        assertEq(abi.encode(read), abi.encode(p));
        (uint16 fee, uint16 ops, uint16 reserve) = policy.feesOf(2);
        assertEq(abi.encode(fee, ops, reserve), abi.encode(p.feeBps, p.opsBps, p.reserveBps));
    }

    // Assets ------------------------------------------------------------------------------------

    function test_assets_keep_their_numbers() external {
        assertEq(policy.assetIndex(address(c4e)), 1);
        assertEq(policy.assetIndex(address(euro)), 2);
        assertEq(policy.assetIndex(address(this)), 0);
        AssetPolicy[] memory list = assetPolicies();
        (list[0], list[1]) = (list[1], list[0]);
        append(uint40(START + 1), parameters(), list);
        assertEq(policy.assetIndex(address(c4e)), 1);
        assertEq(policy.assetIndex(address(euro)), 2);
        assertEq(policy.assetAt(1), address(c4e));
        assertEq(policy.assetAt(2), address(euro));
        assertEq(policy.assetAt(0), address(0));
        assertEq(policy.assetAt(3), address(0));
        assertEq(policy.assetsOf(2)[0].asset, address(c4e), "by number, not as listed");
    }

    function coins(uint256 count) internal returns (AssetPolicy[] memory list) {
        list = new AssetPolicy[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = AssetPolicy(address(new CoinOf(8)), 8, "USD", uint64(i), 2, 3, uint128(i + 1));
        }
    }

    function test_eight_assets_over_all_versions() external {
        AssetPolicy[] memory six = coins(6);
        append(uint40(START + 1), parameters(), six);
        assertEq(abi.encode(policy.assetsOf(2)), abi.encode(six));
        assertEq(policy.assetsOf(1).length, 2);
        assertEq(policy.assetIndex(six[5].asset), 8);
        AssetPolicy[] memory one = coins(1);
        vm.expectRevert(INetworkPolicy.TooManyAssets.selector);
        append(uint40(START + 2), parameters(), one);
    }

    function test_nine_assets_in_a_version() external {
        AssetPolicy[] memory nine = coins(9);
        vm.expectRevert(INetworkPolicy.TooManyAssets.selector);
        append(uint40(START + 1), parameters(), nine);
    }

    function test_an_asset_twice() external {
        AssetPolicy[] memory list = assetPolicies();
        list[1] = list[0];
        vm.expectRevert(abi.encodeWithSelector(INetworkPolicy.AssetTwice.selector, address(c4e)));
        append(uint40(START + 1), parameters(), list);
    }

    function test_assets_out_of_range() external {
        AssetPolicy memory asset = assetPolicies()[1];
        asset.asset = address(0);
        refuse(asset, "asset");
        asset.asset = address(0x1234);
        refuse(asset, "asset");
        asset = assetPolicies()[1];
        asset.decimals = 5; // it says 6
        refuse(asset, "decimals");
        asset = AssetPolicy(address(new CoinOf(9)), 9, "USD", 1, 1, 1, 1);
        refuse(asset, "decimals");
        asset = assetPolicies()[1];
        asset.c4eRate = 0;
        refuse(asset, "c4eRate");
        asset = assetPolicies()[0];
        asset.c4eRate = 1e6 + 1;
        refuse(asset, "c4eRate");
    }

    // Governor and market -----------------------------------------------------------------------

    function test_nobody_rules_before_there_is_a_governor() external view {
        assertEq(policy.governor(), address(0));
        assertEq(policy.market(), address(0));
    }

    function test_governor_once() external {
        vm.startPrank(address(timelock));
        vm.expectRevert(INetworkPolicy.AlreadySet.selector);
        policy.setGovernor(address(0));
        vm.expectEmit(address(policy));
        emit GovernorSet(address(0x60));
        policy.setGovernor(address(0x60));
        assertEq(policy.governor(), address(0x60));
        vm.expectRevert(INetworkPolicy.AlreadySet.selector);
        policy.setGovernor(address(0x61));
    }

    function test_market_once() external {
        vm.startPrank(address(timelock));
        vm.expectRevert(INetworkPolicy.AlreadySet.selector);
        policy.setMarket(address(0));
        vm.expectEmit(address(policy));
        emit MarketSet(address(0x60));
        policy.setMarket(address(0x60));
        assertEq(policy.market(), address(0x60));
        vm.expectRevert(INetworkPolicy.AlreadySet.selector);
        policy.setMarket(address(0x61));
    }

    function test_governor_and_market_by_another() external {
        bytes memory refused =
            abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this));
        vm.expectRevert(refused);
        policy.setGovernor(address(0x60));
        vm.expectRevert(refused);
        policy.setMarket(address(0x60));
    }

    /// @dev I19 end to end: the bootstrap key changes the policy two days after it said so.
    function test_a_version_through_the_timelock() external {
        bytes memory call =
            abi.encodeCall(policy.append, (uint40(START + 3 days), parameters(), assetPolicies()));
        vm.prank(bootstrap);
        timelock.schedule(address(policy), 0, call, 0, 0, 2 days);
        skip(2 days - 1);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.execute(address(policy), 0, call, 0, 0);
        skip(1);
        timelock.execute(address(policy), 0, call, 0, 0);
        assertEq(policy.latest(), 2);
    }
}

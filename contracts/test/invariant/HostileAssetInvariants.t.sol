// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlementHub} from "../../src/interfaces/ISettlementHub.sol";
import {AssetPolicy, Batch, Rail} from "../../src/Types.sol";
import {Coin} from "../Contracts.sol";
import {HostileAsset} from "../doubles/HostileAsset.sol";
import {SettlementHubFixture} from "../SettlementHubFixture.sol";
import {vm} from "../Vm.sol";

/// @dev An asset of the policy takes fees, lies, blocks and calls back at random, while money goes
/// in and out in it and in the test euro beside it.
contract HostileAssetHandler is SettlementHubFixture {
    HostileAsset public hostile;
    uint256 public sessions;
    uint256 public clock;
    mapping(bytes32 => uint256) public did;

    constructor() {
        hostile = new HostileAsset();
        deployAll(1);
        clock = time();
    }

    modifier atClock() {
        vm.warp(clock);
        _;
    }

    function assetPolicies() internal view override returns (AssetPolicy[] memory list) {
        AssetPolicy[] memory two = super.assetPolicies();
        list = new AssetPolicy[](3);
        (list[0], list[1], list[2]) = (two[0], two[1], two[1]);
        AssetPolicy memory third = two[1];
        list[2] = AssetPolicy({
            asset: address(hostile),
            decimals: 6,
            currency: "EUR",
            ceilingPerKwh: third.ceilingPerKwh,
            ceilingPerHour: third.ceilingPerHour,
            ceilingFlat: third.ceilingFlat,
            c4eRate: third.c4eRate
        });
    }

    function contracts() external view returns (ISettlementHub, HostileAsset, Coin) {
        return (hub, hostile, euro);
    }

    function idOf(uint256 number) external pure returns (bytes32) {
        return escrowIdOf(number);
    }

    function accounts() external view returns (address[7] memory) {
        return [
            HOST,
            PROPOSER,
            KEEPER,
            address(timelock),
            beneficiaryOf(0),
            beneficiaryOf(1),
            beneficiaryOf(2)
        ];
    }

    function payer(uint256 number) external pure returns (address) {
        return payerOf(number);
    }

    function gateway() external view returns (address) {
        return GATEWAY;
    }

    function behave(uint256 seed) external {
        if (seed % 5 == 3) hook(seed);
        else if (seed % 5 == 4) hostile.block_(HOST);
        else hostile.setMode(HostileAsset.Mode(seed % 3));
        ++did["behave"];
    }

    function deposit(uint256 seed) external atClock {
        uint128 amount = uint128(bound(seed, 1, 10e6));
        euro.faucet(GATEWAY, amount);
        hostile.mint(GATEWAY, amount);
        vm.startPrank(GATEWAY);
        euro.approve(address(hub), amount);
        hub.depositGateway(address(euro), amount);
        hostile.approve(address(hub), amount);
        try hub.depositGateway(address(hostile), amount) {
            ++did["deposit"];
        } catch {
            ++did["refuse a deposit"];
        }
        vm.stopPrank();
    }

    function takeBack(uint256 seed) external atClock {
        address asset = seed % 2 == 0 ? address(euro) : address(hostile);
        uint128 free = freeOf(asset);
        if (free == 0) return;
        vm.prank(GATEWAY);
        try hub.withdrawGateway(asset, uint128(bound(seed, 1, free))) {
            ++did["take back"];
        } catch {}
    }

    /// @dev A wallet session from its escrow to `settle`; with this asset any step may fail.
    function session(uint256 seed) external atClock {
        uint256 number = ++sessions;
        bool isHostile = seed % 3 != 0;
        address asset = isHostile ? address(hostile) : address(euro);
        clock += 4000;
        vm.warp(clock);
        if (isHostile) hostile.mint(payerOf(number), 10e6);
        else euro.faucet(payerOf(number), 10e6);
        vm.prank(payerOf(number));
        Coin(asset).approve(address(hub), 10e6);
        try this.openOne(asset, number) {
            ++did["open"];
        } catch {
            assertTrue(isHostile, "an honest asset opens");
            ++did["refuse to open"];
            return;
        }
        Batch memory batch = emptyBatch(asset, 1);
        batch.leaves[0] = leafOf(number, 0, Rail.Wallet, uint64(bound(seed >> 8, 1, 5e6)), 1e6);
        (, batch.c4eRate,) = hub.rateBounds(OPERATOR, asset);
        propose(batch);
        clock += 1 days + 1;
        vm.warp(clock);
        vm.prank(KEEPER);
        try hub.settle(batch) returns (uint48 paid) {
            assertEq(paid, 1);
            ++did[isHostile ? bytes32("settle") : bytes32("settle in euro")];
        } catch {
            assertTrue(isHostile, "an honest asset settles");
            ++did["refuse to settle"];
        }
    }

    function openOne(address asset, uint256 number) external {
        openApproved(asset, number, 10e6);
    }

    function withdraw(uint256 seed) external atClock {
        address[7] memory all = this.accounts();
        address account =
            seed % 2 == 0 ? all[(seed >> 8) % 7] : payerOf((seed >> 8) % (sessions + 1));
        uint256 owed = hub.withdrawable(account, address(euro));
        assertEq(hub.withdrawFor(account, address(euro)), owed);
        try hub.withdrawFor(account, address(hostile)) {
            ++did["withdraw"];
        } catch {
            ++did["refuse to withdraw"];
        }
    }

    /// @dev Back into the hub in the middle of its next transfer.
    function hook(uint256 seed) private {
        bytes[3] memory calls = [
            abi.encodeCall(hub.withdrawFor, (HOST, address(hostile))),
            abi.encodeCall(hub.withdrawFor, (payerOf(sessions), address(hostile))),
            abi.encodeCall(hub.depositGateway, (address(hostile), 1))
        ];
        hostile.setHook(address(hub), calls[(seed >> 8) % 3]);
        ++did["call back"];
    }

    /// @dev What chance may have left out, once.
    function doEverything() external {
        this.behave(0);
        this.session(2 | 5e6 << 8);
        this.behave(2);
        this.withdraw(0);
        for (uint256 mode = 0; mode < 5; ++mode) {
            this.behave(mode);
            this.deposit(5);
            this.takeBack(0);
            this.takeBack(1);
            this.session(2 | 5e6 << 8);
            this.session(0);
            for (uint256 i = 0; i < 7; ++i) {
                this.withdraw(i << 8);
            }
        }
    }
}

/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: default.invariant.runs = 6
/// forge-config: default.invariant.depth = 100
contract HostileAssetInvariants is SettlementHubFixture {
    HostileAssetHandler private _it;
    HostileAsset private _hostile;
    Coin private _euro;

    function setUp() public override {
        _it = new HostileAssetHandler();
        (hub, _hostile, _euro) = _it.contracts();
        bytes4[] memory selectors = new bytes4[](5);
        selectors[0] = HostileAssetHandler.behave.selector;
        selectors[1] = HostileAssetHandler.deposit.selector;
        selectors[2] = HostileAssetHandler.takeBack.selector;
        selectors[3] = HostileAssetHandler.session.selector;
        selectors[4] = HostileAssetHandler.withdraw.selector;
        target(address(_it), selectors);
    }

    /// @dev I23: whatever an asset does, the hub has of it what it owes, to the unit, and of the
    /// other one too.
    function invariant_the_ledger_is_true() external view {
        checkAll();
    }

    function checkAll() internal view {
        assertEq(_hostile.balanceOf(address(hub)), owedIn(address(_hostile)), "I23, hostile");
        assertEq(_euro.balanceOf(address(hub)), owedIn(address(_euro)), "I23, euro");
    }

    function owedIn(address asset) internal view returns (uint256 sum) {
        (uint128 free, uint128 locked) = hub.gatewayOf(_it.gateway(), asset);
        sum = uint256(free) + locked;
        address[7] memory accounts = _it.accounts();
        for (uint256 i = 0; i < accounts.length; ++i) {
            sum += hub.withdrawable(accounts[i], asset);
        }
        bool isEuro = asset == address(_euro);
        for (uint256 i = 1; i <= _it.sessions(); ++i) {
            sum += hub.withdrawable(_it.payer(i), asset);
            Escrow memory escrow = hub.escrowOf(_it.idOf(i));
            if (escrow.assetIndex == (isEuro ? 2 : 3)) sum += escrow.max;
        }
    }

    function afterInvariant() external {
        _it.doEverything();
        checkAll();
        bytes32[11] memory all = [
            bytes32("behave"),
            "call back",
            "deposit",
            "refuse a deposit",
            "take back",
            "open",
            "refuse to open",
            "settle",
            "settle in euro",
            "withdraw",
            "refuse to withdraw"
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(_it.did(all[i]), 0, string.concat("never did it ", vm.toString(all[i])));
        }
    }
}

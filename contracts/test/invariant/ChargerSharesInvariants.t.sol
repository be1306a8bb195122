// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChargerShares, create} from "../Contracts.sol";
import {TestBase} from "../TestBase.sol";
import {AssetDouble, HolderDouble, PassportDouble} from "../doubles/ChargerSharesDoubles.sol";
import {vm} from "../Vm.sol";

/// @title A model of the shares that does it the long way, driven beside the contract.
/// @dev The model has no accumulator: each credit is added to every account at once, in
/// millionths. Accounts are numbered: 0 is the passport, the last one a contract that claims when it
/// receives units; asset 2 calls back on each transfer of a claim.
contract SharesHandler is TestBase {
    uint256 public constant PASSPORTS = 3;
    uint256 public constant ASSETS = 3;
    uint256 public constant ACCOUNTS = 6;
    uint256 private constant UNITS = 1_000_000;

    ChargerShares public immutable shares;
    PassportDouble public immutable passport;
    AssetDouble[] public assets;
    address[] public accounts;
    HolderDouble private immutable holder;

    mapping(uint256 id => mapping(uint256 account => uint256)) public units;
    mapping(uint256 id => mapping(uint256 asset => mapping(uint256 account => uint256))) public
        owed;
    mapping(uint256 id => mapping(uint256 asset => uint256)) public notified;
    mapping(uint256 asset => uint256) public paid;
    mapping(uint256 asset => uint256) public donated;
    mapping(bytes4 selector => uint256) public calls;

    constructor() {
        passport = new PassportDouble();
        shares = ChargerShares(
            create("ChargerShares", abi.encode(address(passport), address(this), vm.addr(1)))
        );
        holder = new HolderDouble();
        accounts.push(address(0));
        for (uint256 i = 1; i < ACCOUNTS - 1; ++i) {
            accounts.push(vm.addr(100 + i));
        }
        accounts.push(address(holder));
        for (uint256 id = 0; id < PASSPORTS; ++id) {
            passport.mint(accounts[1 + id], id);
            units[id][0] = UNITS;
        }
        for (uint256 i = 0; i < ASSETS; ++i) {
            assets.push(new AssetDouble());
        }
    }

    /// @dev Two ids a call, often the same one twice; often amounts of a few units.
    function notify(uint256 id, uint256 other, uint256 asset, uint256 amount, uint256 amount2)
        external
    {
        (id, other, asset) = (id % PASSPORTS, other % PASSPORTS, asset % ASSETS);
        amount = amountOf(amount);
        amount2 = amountOf(amount2);
        assets[asset].mint(address(shares), amount + amount2);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory amounts = new uint256[](2);
        (ids[0], ids[1], amounts[0], amounts[1]) = (id, other, amount, amount2);
        shares.notify(address(assets[asset]), ids, amounts);
        credit(id, asset, amount);
        credit(other, asset, amount2);
        ++calls[this.notify.selector];
    }

    function release(uint256 id, uint256 to, uint256 amount) external {
        id = id % PASSPORTS;
        to = 1 + to % (ACCOUNTS - 1);
        amount = bound(amount, 0, units[id][0] / 2);
        uint256 before = armReceipt(id, to);
        vm.prank(passport.ownerOf(id));
        shares.release(id, accounts[to], amount);
        units[id][0] -= amount;
        units[id][to] += amount;
        checkReceipt(id, to, before);
        ++calls[this.release.selector];
    }

    function transfer(uint256 id, uint256 from, uint256 to, uint256 amount) external {
        id = id % PASSPORTS;
        from = richFrom(id, from);
        to = 1 + to % (ACCOUNTS - 1);
        amount = bound(amount, 0, units[id][from]);
        uint256 before = armReceipt(id, to);
        vm.prank(accounts[from]);
        shares.safeTransferFrom(accounts[from], accounts[to], id, amount, "");
        units[id][from] -= amount;
        units[id][to] += amount;
        checkReceipt(id, to, before);
        if (amount != 0) ++calls[this.transfer.selector];
    }

    /// @dev The same id twice, and another.
    function batchTransfer(uint256 id, uint256 other, uint256 from, uint256 to, uint256 amount)
        external
    {
        (id, other) = (id % PASSPORTS, other % PASSPORTS);
        from = richFrom(id, from);
        to = 1 + to % (ACCOUNTS - 1);
        uint256[] memory ids = new uint256[](3);
        (ids[0], ids[1], ids[2]) = (id, other, id);
        uint256[] memory amounts = new uint256[](3);
        for (uint256 i = 0; i < 3; ++i) {
            amounts[i] = bound(amount >> (64 * i), 0, units[ids[i]][from] / 3);
        }
        uint256 before = armReceipt(other, to);
        vm.prank(accounts[from]);
        shares.safeBatchTransferFrom(accounts[from], accounts[to], ids, amounts, "");
        checkReceipt(other, to, before);
        for (uint256 i = 0; i < 3; ++i) {
            units[ids[i]][from] -= amounts[i];
            units[ids[i]][to] += amounts[i];
        }
        ++calls[this.batchTransfer.selector];
    }

    /// @dev Whoever calls, the holder has what is his and nobody else has anything of it.
    function claim(uint256 seed) external {
        (uint256 id, uint256 asset, uint256 account) = richClaim(seed);
        AssetDouble token = assets[asset];
        address to = accounts[account];
        if (asset == 2) {
            token.callBack(address(shares), abi.encodeCall(shares.claim, (id, address(token), to)));
        }
        uint256 before = token.balanceOf(to);
        uint256 claimable = shares.claimable(id, address(token), to);
        uint256 amount = shares.claim(id, address(token), to);
        token.behave(AssetDouble.Manner.Honest);
        assertEq(amount, claimable, "claim pays what claimable says");
        assertEq(token.balanceOf(to), before + amount, "the holder is paid");

        assertEq(amount, drawAll(id, asset, account), "claim pays what the model says");
        assertLt(shares.owedMillionths(id, address(token), to), leftOf(account), "left");
        if (amount != 0) ++calls[this.claim.selector];
    }

    function movePassport(uint256 id, uint256 to) external {
        id = id % PASSPORTS;
        to = 1 + to % (ACCOUNTS - 1);
        address owner = passport.ownerOf(id);
        vm.prank(owner);
        passport.transferFrom(owner, accounts[to], id);
        ++calls[this.movePassport.selector];
    }

    /// @dev Money that nobody announced is nobody's.
    function donate(uint256 asset, uint256 amount) external {
        asset = asset % ASSETS;
        amount = amountOf(amount);
        assets[asset].mint(address(shares), amount);
        donated[asset] += amount;
        ++calls[this.donate.selector];
    }

    /// @dev What chance may have left out, once.
    function doEverything() external {
        this.notify(0, 1, 0, 9_000_000_001, 4);
        this.release(0, 2, 1000);
        this.transfer(0, 2, 3, 1);
        this.batchTransfer(0, 1, 2, 3, 1);
        this.claim(1 << 128);
        this.movePassport(0, 2);
        this.donate(1, 3);
    }

    function accountOf(uint256 account) external view returns (address) {
        return accounts[account];
    }

    function credit(uint256 id, uint256 asset, uint256 amount) private {
        notified[id][asset] += amount;
        for (uint256 account = 0; account < ACCOUNTS; ++account) {
            owed[id][asset][account] += units[id][account] * amount;
        }
    }

    /// @dev Has the contract among the accounts claim asset 0 as soon as it gets units of `id`.
    function armReceipt(uint256 id, uint256 to) private returns (uint256 before) {
        if (to != ACCOUNTS - 1) return 0;
        bytes[] memory onReceipt = new bytes[](1);
        onReceipt[0] = abi.encodeCall(shares.claim, (id, address(assets[0]), address(holder)));
        holder.onReceipt(address(shares), onReceipt);
        return assets[0].balanceOf(address(holder));
    }

    function checkReceipt(uint256 id, uint256 to, uint256 before) private {
        if (to != ACCOUNTS - 1) return;
        uint256 amount = assets[0].balanceOf(address(holder)) - before;
        assertEq(amount, drawAll(id, 0, to), "a claim on receipt pays what was owed before");
        if (amount != 0) ++calls[this.claim.selector];
    }

    function drawAll(uint256 id, uint256 asset, uint256 account) private returns (uint256 amount) {
        if (account != 0) amount = draw(id, asset, account);
        if (passport.ownerOf(id) == accounts[account]) amount += draw(id, asset, 0);
        paid[asset] += amount;
    }

    /// @dev A holder is left less than a unit; the passport's own account is nobody's to claim.
    function leftOf(uint256 account) private pure returns (uint256) {
        return account == 0 ? type(uint256).max : UNITS;
    }

    function draw(uint256 id, uint256 asset, uint256 account) private returns (uint256 amount) {
        amount = owed[id][asset][account] / UNITS;
        owed[id][asset][account] -= amount * UNITS;
    }

    /// @dev The first account from `from` on that has units; account 1 if there is none.
    function richFrom(uint256 id, uint256 from) private view returns (uint256) {
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            uint256 account = 1 + (from % ACCOUNTS + i) % (ACCOUNTS - 1);
            if (units[id][account] != 0) return account;
        }
        return 1;
    }

    /// @dev The first (id, asset, account) from `seed` on that has something to claim, or, every
    /// fourth time, the first one.
    function richClaim(uint256 seed)
        private
        view
        returns (uint256 id, uint256 asset, uint256 account)
    {
        uint256 choices = PASSPORTS * ASSETS * ACCOUNTS;
        uint256 tries = seed >> 128 & 3 == 0 ? 1 : choices;
        for (uint256 i = 0; i < tries; ++i) {
            uint256 choice = (seed % choices + i) % choices;
            id = choice % PASSPORTS;
            asset = choice / PASSPORTS % ASSETS;
            account = choice / PASSPORTS / ASSETS;
            if (shares.claimable(id, address(assets[asset]), accounts[account]) != 0) break;
        }
    }

    function amountOf(uint256 seed) private pure returns (uint256) {
        return seed % 3 == 0 ? seed % 7 : bound(seed, 0, type(uint64).max);
    }
}

contract ChargerSharesInvariantsTest is TestBase {
    uint256 private constant UNITS = 1_000_000;

    SharesHandler private handler;
    ChargerShares private shares;
    mapping(uint256 id => mapping(uint256 asset => uint256)) private lastTotal;

    function setUp() public {
        handler = new SharesHandler();
        shares = handler.shares();
        target(address(handler), selectors());
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: default.invariant.runs = 32
    /// forge-config: default.invariant.depth = 100
    function invariant_accountsAreExact() public {
        checkAll();
    }

    function checkAll() private {
        checkHeldIsOwedAndOwedIsWhatTheModelSays();
        checkUnitsAddUp();
        checkTotalsAreMonotone();
    }

    /// @dev Nothing above passes because nothing happened.
    function afterInvariant() public {
        handler.doEverything();
        checkAll();
        bytes4[] memory all = selectors();
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(handler.calls(all[i]), 0, vm.toString(bytes32(all[i])));
        }
    }

    /// @dev I5, I6, I7: every account is owed exactly its units' part of each credit since, less
    /// what it was paid in whole units (the handler checks that a claim leaves less than one).
    /// I2: what the contract holds is what all accounts are owed, to the millionth, and its
    /// balance is that and what was given away.
    function checkHeldIsOwedAndOwedIsWhatTheModelSays() private view {
        for (uint256 asset = 0; asset < handler.ASSETS(); ++asset) {
            AssetDouble token = handler.assets(asset);
            uint256 sum;
            for (uint256 id = 0; id < handler.PASSPORTS(); ++id) {
                for (uint256 i = 0; i < handler.ACCOUNTS(); ++i) {
                    address account = handler.accountOf(i);
                    uint256 owed = shares.owedMillionths(id, address(token), account);
                    assertEq(owed, handler.owed(id, asset, i), "owed");
                    sum += owed;
                }
            }
            uint256 held = shares.heldOf(address(token));
            assertEq(sum, held * UNITS, "sum of owed");
            assertEq(token.balanceOf(address(shares)), held + handler.donated(asset), "balance");
        }
    }

    /// @dev Units of a passport are a million at any time, and where the model has them.
    function checkUnitsAddUp() private view {
        for (uint256 id = 0; id < handler.PASSPORTS(); ++id) {
            uint256 sum = shares.unreleased(id);
            assertEq(sum, handler.units(id, 0), "unreleased");
            for (uint256 i = 1; i < handler.ACCOUNTS(); ++i) {
                uint256 units = shares.balanceOf(handler.accountOf(i), id);
                assertEq(units, handler.units(id, i), "units");
                sum += units;
            }
            assertEq(sum, UNITS, "a million");
        }
    }

    /// @dev I21: totals only grow, and by what was notified.
    function checkTotalsAreMonotone() private {
        for (uint256 asset = 0; asset < handler.ASSETS(); ++asset) {
            address token = address(handler.assets(asset));
            uint256 sum;
            for (uint256 id = 0; id < handler.PASSPORTS(); ++id) {
                uint256 total = shares.totalNotified(id, token);
                assertGe(total, lastTotal[id][asset], "total fell");
                assertEq(total, handler.notified(id, asset), "total");
                lastTotal[id][asset] = total;
                sum += total;
            }
            assertEq(sum - handler.paid(asset), shares.heldOf(token), "paid and held");
        }
    }

    function selectors() private view returns (bytes4[] memory all) {
        all = new bytes4[](7);
        all[0] = handler.notify.selector;
        all[1] = handler.release.selector;
        all[2] = handler.transfer.selector;
        all[3] = handler.batchTransfer.selector;
        all[4] = handler.claim.selector;
        all[5] = handler.movePassport.selector;
        all[6] = handler.donate.selector;
    }
}

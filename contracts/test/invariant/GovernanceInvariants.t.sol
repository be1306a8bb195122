// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {NoticeUpgradeable} from "../../src/NoticeUpgradeable.sol";
import {EmissionController, create} from "../Contracts.sol";
import {Deployment} from "../Deployment.sol";
import {vm} from "../Vm.sol";

/// @dev The bootstrap key proposes policies and upgrades, anybody executes at any time, strangers
/// try their luck; what has changed must have been said long enough before.
contract GovernanceHandler is Deployment {
    struct Operation {
        address to;
        bytes call;
        uint256 scheduledAt;
        bool isDone;
    }

    uint256 public clock = START;
    uint256 public versions = 1;
    address public implementation;
    /// @dev How often what a function is for has really happened.
    mapping(bytes32 => uint256) public did;

    Operation[] private _operations;
    address[] private _codes;
    uint256 private _from;

    constructor() {
        deploy();
        implementation = currentImplementation();
        _codes.push(create("EmissionController", ""));
        _codes.push(create("EmissionController", ""));
    }

    modifier atClock() {
        vm.warp(clock);
        _;
    }

    function currentImplementation() public view returns (address) {
        bytes32 word = vm.load(address(emission), ERC1967Utils.IMPLEMENTATION_SLOT);
        return address(uint160(uint256(word)));
    }

    function policyVersions() external view returns (uint256) {
        return policy.latest();
    }

    /// @dev Some hours, some days, or into the term of what is announced, or near it.
    function wait(uint256 duration, uint256 kind) external atClock {
        uint256 due = emission.pendingUpgrade().executableFrom;
        if (kind % 3 == 0 && due > clock) clock = due - 1 days + bound(duration, 0, 18 days);
        else clock += bound(duration, 1 hours, kind % 3 == 1 ? 10 days : 1 days);
        ++did["wait"];
    }

    function scheduleVersion(uint256 delay) external atClock {
        _from = (_from > clock ? _from : clock) + bound(delay, 3 days, 30 days);
        _schedule(
            address(policy),
            abi.encodeCall(policy.append, (uint40(_from), parameters(), assetPolicies()))
        );
    }

    function scheduleUpgrade(uint256 choice) external atClock {
        address code = _codes[choice % 2];
        _schedule(
            address(emission),
            abi.encodeCall(emission.announceUpgrade, (code, code.codehash, keccak256("")))
        );
    }

    function scheduleCancel(uint256 choice) external atClock {
        if (choice % 3 != 0) return;
        _schedule(address(emission), abi.encodeCall(emission.cancelUpgrade, ()));
    }

    /// @dev I19 for the Timelock: an operation passes only two days after it was scheduled.
    function execute(uint256 choice) external atClock {
        uint256 length = _operations.length;
        if (length == 0) return;
        // One of the last four, so that many are young and many are old enough.
        uint256 place = length - 1 - choice % (length < 4 ? length : 4);
        Operation storage it = _operations[place];
        // Half of the time wait for it.
        if (choice % 8 >= 4 && clock < it.scheduledAt + 2 days) {
            clock = it.scheduledAt + 2 days;
            vm.warp(clock);
        }
        try timelock.execute(it.to, 0, it.call, 0, bytes32(place)) {
            assertGe(clock, it.scheduledAt + 2 days, "executed before its delay");
            assertFalse(it.isDone, "executed twice");
            it.isDone = true;
            if (it.to == address(policy)) ++versions;
            ++did[it.to == address(policy) ? bytes32("append") : bytes32("announce")];
        } catch {
            if (clock < it.scheduledAt + 2 days) ++did["refuse to execute early"];
        }
    }

    /// @dev I19 for code: a switch only 49 days after its announcement, within 14.
    function upgrade(uint256 choice) external atClock {
        address code = _codes[choice % 2];
        NoticeUpgradeable.Notice memory notice = emission.pendingUpgrade();
        // Often for what is announced, and then half of the time in its term.
        if (notice.implementation != address(0) && choice % 8 >= 2) code = notice.implementation;
        if (choice % 8 >= 5 && clock < notice.executableFrom) {
            clock = notice.executableFrom;
            vm.warp(clock);
        }
        bool mayBe = notice.implementation == code && clock >= notice.executableFrom
            && clock <= notice.executableUntil;
        try emission.upgradeToAndCall(code, "") {
            assertTrue(mayBe, "switched without notice");
            implementation = code;
            ++did["upgrade"];
        } catch {
            assertFalse(mayBe, "a due upgrade was refused");
            ++did["refuse to upgrade"];
        }
    }

    /// @dev No way past the Timelock, whoever calls.
    function trespass(address caller, uint256 choice) external atClock {
        if (caller == address(timelock)) caller = bootstrap;
        bytes[6] memory attempts = [
            abi.encodeCall(policy.append, (uint40(clock + 1), parameters(), assetPolicies())),
            abi.encodeCall(policy.setGovernor, (caller)),
            abi.encodeCall(policy.setMarket, (caller)),
            abi.encodeCall(
                emission.announceUpgrade, (_codes[0], _codes[0].codehash, keccak256(""))
            ),
            abi.encodeCall(emission.cancelUpgrade, ()),
            abi.encodeCall(
                policy.initialize, (caller, uint40(clock + 1), parameters(), assetPolicies())
            )
        ];
        for (uint256 i = 0; i < attempts.length; ++i) {
            vm.prank(caller);
            (bool done,) = (choice % 2 == 0 ? address(policy) : address(emission)).call(attempts[i]);
            assertFalse(done, "a stranger did it");
        }
        ++did["trespass"];
    }

    /// @dev What chance may have left out, once. The choices: the last operation, now or when due.
    function doEverything() external {
        this.wait(1 hours, 1);
        uint256 until = emission.pendingUpgrade().executableUntil;
        if (clock <= until) clock = until + 1;
        this.scheduleVersion(3 days);
        this.execute(12);
        this.scheduleUpgrade(0);
        this.execute(0);
        this.execute(12);
        this.upgrade(2);
        this.upgrade(5);
        this.trespass(address(1), 0);
    }

    function _schedule(address to, bytes memory call) private {
        vm.prank(bootstrap);
        timelock.schedule(to, 0, call, 0, bytes32(_operations.length), 2 days);
        _operations.push(Operation(to, call, clock, false));
    }
}

/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: default.invariant.runs = 10
/// forge-config: default.invariant.depth = 256
contract GovernanceInvariants is Deployment {
    GovernanceHandler private _handler;

    function setUp() external {
        _handler = new GovernanceHandler();
        bytes4[] memory selectors = new bytes4[](7);
        selectors[0] = GovernanceHandler.wait.selector;
        selectors[1] = GovernanceHandler.scheduleVersion.selector;
        selectors[2] = GovernanceHandler.scheduleUpgrade.selector;
        selectors[3] = GovernanceHandler.scheduleCancel.selector;
        selectors[4] = GovernanceHandler.execute.selector;
        selectors[5] = GovernanceHandler.upgrade.selector;
        selectors[6] = GovernanceHandler.trespass.selector;
        target(address(_handler), selectors);
    }

    /// @dev I19.
    function invariant_nothing_changes_but_by_its_announced_delay() external view {
        checkDelays();
    }

    function checkDelays() internal view {
        assertEq(_handler.policyVersions(), _handler.versions());
        assertEq(_handler.currentImplementation(), _handler.implementation());
    }

    /// @dev Nothing above passes because nothing happened.
    function afterInvariant() external {
        _handler.doEverything();
        checkDelays();
        bytes32[7] memory all = [
            bytes32("wait"),
            "append",
            "announce",
            "refuse to execute early",
            "upgrade",
            "refuse to upgrade",
            "trespass"
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(_handler.did(all[i]), 0, string.concat("never did it ", vm.toString(all[i])));
        }
    }
}

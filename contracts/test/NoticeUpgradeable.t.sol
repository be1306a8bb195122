// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {NoticeUpgradeable} from "../src/NoticeUpgradeable.sol";
import {INoticeUpgradeable} from "../src/interfaces/INoticeUpgradeable.sol";
import {EmissionController, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

/// @dev The controller's next version: remembers one number, may fail on purpose.
contract NextController is NoticeUpgradeable {
    uint256 public number;

    function begin(uint256 number_) external reinitializer(2) {
        require(number_ != 0, "begin at one");
        number = number_;
    }
}

/// @dev Tries, while it is switched to, to use the same announcement again.
contract GreedyController is NoticeUpgradeable {
    function again(address implementation) external {
        this.upgradeToAndCall(implementation, abi.encodeCall(this.again, (implementation)));
    }
}

contract NoticeUpgradeableTest is TestBase {
    event UpgradeAnnounced(
        address indexed implementation,
        bytes32 codeHash,
        bytes32 dataHash,
        uint40 executableFrom,
        uint40 executableUntil
    );
    event UpgradeCancelled(address indexed implementation);

    uint40 private constant START = 1_800_000_000;
    address private constant OWNER = address(0x71);
    address private constant STRANGER = address(0x57);

    EmissionController private _proxied;
    address private _next;
    bytes private _call = abi.encodeCall(NextController.begin, (7));

    function setUp() external {
        vm.warp(START);
        _proxied = EmissionController(
            create(
                "ERC1967Proxy",
                abi.encode(
                    create("EmissionController", ""),
                    abi.encodeCall(EmissionController.initialize, (OWNER))
                )
            )
        );
        _next = address(new NextController());
    }

    function announce() internal {
        vm.prank(OWNER);
        _proxied.announceUpgrade(_next, _next.codehash, keccak256(_call));
    }

    function implementation() internal view returns (address) {
        bytes32 word = vm.load(address(_proxied), ERC1967Utils.IMPLEMENTATION_SLOT);
        return address(uint160(uint256(word)));
    }

    function test_namespace_is_as_ERC7201_computes_it() external view {
        uint256 id = uint256(keccak256("chargera.storage.NoticeUpgradeable")) - 1;
        bytes32 slot = keccak256(abi.encode(id)) & ~bytes32(uint256(0xff));
        assertEq(vm.load(address(_proxied), slot), bytes32(uint256(uint160(OWNER))));
    }

    // Announcing --------------------------------------------------------------------------------

    function test_announce() external {
        vm.expectEmit(address(_proxied));
        emit UpgradeAnnounced(
            _next, _next.codehash, keccak256(_call), START + 49 days, START + 63 days
        );
        announce();
        INoticeUpgradeable.Notice memory notice = _proxied.pendingUpgrade();
        assertEq(notice.implementation, _next);
        assertEq(notice.executableFrom, START + 49 days);
        assertEq(notice.executableUntil, START + 63 days);
        assertEq(notice.codeHash, _next.codehash);
        assertEq(notice.dataHash, keccak256(_call));
    }

    function test_announce_by_another() external {
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        _proxied.announceUpgrade(_next, _next.codehash, keccak256(_call));
    }

    function test_announce_a_second_one() external {
        announce();
        vm.warp(START + 63 days);
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.UpgradePending.selector, _next));
        _proxied.announceUpgrade(_next, _next.codehash, 0);
    }

    function test_announce_again_when_the_first_has_expired() external {
        announce();
        vm.warp(START + 63 days + 1);
        announce();
        assertEq(_proxied.pendingUpgrade().executableFrom, START + 112 days + 1);
    }

    function test_announce_other_code_than_there_is() external {
        vm.startPrank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.WrongCode.selector, _next.codehash)
        );
        _proxied.announceUpgrade(_next, keccak256("other code"), 0);
        // An account that only has money: its code hash is the hash of nothing.
        vm.deal(STRANGER, 1);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.WrongCode.selector, keccak256(""))
        );
        _proxied.announceUpgrade(STRANGER, keccak256(""), 0);
    }

    function test_cancel() external {
        announce();
        vm.prank(OWNER);
        vm.expectEmit(address(_proxied));
        emit UpgradeCancelled(_next);
        _proxied.cancelUpgrade();
        assertEq(_proxied.pendingUpgrade().implementation, address(0));
        vm.warp(START + 49 days);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, _next)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    function test_cancel_by_another() external {
        announce();
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        _proxied.cancelUpgrade();
    }

    function test_cancel_nothing() external {
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, address(0))
        );
        _proxied.cancelUpgrade();
    }

    // Executing ---------------------------------------------------------------------------------

    function test_anybody_executes_from_the_first_second_on() external {
        announce();
        vm.warp(START + 49 days);
        vm.prank(STRANGER);
        _proxied.upgradeToAndCall(_next, _call);
        assertEq(implementation(), _next);
        assertEq(NextController(address(_proxied)).number(), 7);
        assertEq(_proxied.owner(), OWNER, "owned as before");
        assertEq(_proxied.pendingUpgrade().implementation, address(0), "used up");
    }

    function test_until_the_last_second() external {
        announce();
        vm.warp(START + 63 days);
        _proxied.upgradeToAndCall(_next, _call);
        assertEq(implementation(), _next);
    }

    function test_too_early() external {
        announce();
        vm.warp(START + 49 days - 1);
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeTooEarly.selector, START + 49 days)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    function test_too_late() external {
        announce();
        vm.warp(START + 63 days + 1);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeTooLate.selector, START + 63 days)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    function test_without_notice() external {
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, _next)
        );
        _proxied.upgradeToAndCall(_next, _call);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, address(0))
        );
        _proxied.upgradeToAndCall(address(0), "");
    }

    function test_to_another_implementation() external {
        announce();
        vm.warp(START + 49 days);
        address other = address(new NextController());
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, other)
        );
        _proxied.upgradeToAndCall(other, _call);
    }

    function test_with_another_call() external {
        announce();
        vm.warp(START + 49 days);
        bytes memory other = abi.encodeCall(NextController.begin, (8));
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.WrongData.selector, keccak256(other))
        );
        _proxied.upgradeToAndCall(_next, other);
    }

    function test_with_code_that_has_changed() external {
        announce();
        vm.warp(START + 49 days);
        vm.etch(_next, address(new GreedyController()).code);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.WrongCode.selector, _next.codehash)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    function test_a_call_that_fails_leaves_everything_as_it_was() external {
        _call = abi.encodeCall(NextController.begin, (0));
        announce();
        vm.warp(START + 49 days);
        address before = implementation();
        vm.expectRevert(bytes("begin at one"));
        _proxied.upgradeToAndCall(_next, _call);
        assertEq(implementation(), before);
        assertEq(_proxied.pendingUpgrade().implementation, _next, "may be tried again");
    }

    function test_an_announcement_is_used_once() external {
        _next = address(new GreedyController());
        _call = abi.encodeCall(GreedyController.again, (_next));
        announce();
        vm.warp(START + 49 days);
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, _next)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    function test_to_something_that_cannot_be_upgraded_again() external {
        _next = address(this);
        _call = "";
        announce();
        vm.warp(START + 49 days);
        vm.expectRevert(
            abi.encodeWithSelector(ERC1967Utils.ERC1967InvalidImplementation.selector, _next)
        );
        _proxied.upgradeToAndCall(_next, _call);
    }

    /// @dev I19 for any moment: an upgrade passes exactly within its term.
    function testFuzz_upgrades_pass_exactly_in_their_term(uint40 later) external {
        later = uint40(bound(later, 0, 100 days));
        announce();
        vm.warp(START + later);
        bool isInTerm = later >= 49 days && later <= 63 days;
        try _proxied.upgradeToAndCall(_next, _call) {
            assertTrue(isInTerm, "passed out of its term");
        } catch {
            assertFalse(isInTerm, "refused in its term");
        }
    }

    // Initializing ------------------------------------------------------------------------------

    function test_an_owner_is_needed() external {
        address code = create("EmissionController", "");
        vm.expectRevert(INoticeUpgradeable.ZeroOwner.selector);
        create(
            "ERC1967Proxy",
            abi.encode(code, abi.encodeCall(EmissionController.initialize, (address(0))))
        );
    }

    function test_an_implementation_by_itself_is_dead() external {
        EmissionController code = EmissionController(create("EmissionController", ""));
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        code.initialize(address(this));
        assertEq(code.owner(), address(0));
        vm.expectRevert(
            abi.encodeWithSelector(INoticeUpgradeable.UpgradeNotAnnounced.selector, _next)
        );
        code.upgradeToAndCall(_next, _call);
        assertEq(code.proxiableUUID(), ERC1967Utils.IMPLEMENTATION_SLOT);
        vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
        _proxied.proxiableUUID();
    }

    function test_initialized_once() external {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        _proxied.initialize(STRANGER);
    }
}

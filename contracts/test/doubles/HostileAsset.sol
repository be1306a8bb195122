// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title HostileAsset: an ERC-20 that misbehaves as it is told, without permit or ERC-3009.
contract HostileAsset is ERC20("Hostile", "HOST") {
    enum Mode {
        Honest,
        Fee, // a unit of each transfer disappears
        False, // nothing moves, and it says so
        Hook, // calls somebody before it moves anything
        Block // refuses transfers to one account
    }

    Mode public mode;
    address public target;
    bytes public call;
    uint256 public calls;
    bool public lastDone;

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function setHook(address target_, bytes calldata call_) external {
        (mode, target, call) = (Mode.Hook, target_, call_);
    }

    function block_(address account) external {
        (mode, target) = (Mode.Block, account);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.False) return false;
        return super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.False) return false;
        return super.transferFrom(from, to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        bool isTransfer = from != address(0) && to != address(0);
        if (isTransfer && mode == Mode.Hook && target != address(0)) {
            address callee = target;
            target = address(0); // once
            (lastDone,) = callee.call(call);
            ++calls;
        }
        require(mode != Mode.Block || to != target, "blocked");
        if (isTransfer && mode == Mode.Fee) {
            super._update(from, address(0xdead), 1);
            amount -= 1;
        }
        super._update(from, to, amount);
    }
}

/// @title ActorDouble: whoever it is asked to be; it does what it is told.
contract ActorDouble {
    function act(address target, bytes calldata call) external returns (bytes memory) {
        (bool done, bytes memory result) = target.call(call);
        require(done, "act");
        return result;
    }
}

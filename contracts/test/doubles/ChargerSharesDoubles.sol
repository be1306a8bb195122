// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Receiver} from "@openzeppelin/contracts/token/ERC1155/IERC1155Receiver.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IChargerShares} from "../../src/interfaces/IChargerShares.sol";

/// @title What ChargerShares meets: a passport, assets good and bad, receivers good and bad.

contract PassportDouble is ERC721("passport", "P") {
    function mint(address to, uint256 id) external {
        _mint(to, id);
    }

    function tokenURI(uint256 id) public view override returns (string memory) {
        _requireOwned(id);
        return "data:passport";
    }
}

/// @dev An honest ERC-20 until it is told to misbehave.
contract AssetDouble is ERC20("asset", "A") {
    enum Manner {
        Honest,
        ReturnsFalse,
        TakesFee, // one unit of each transfer
        CallsBack, // the `target` before and after each transfer, as ERC-777 does
        Reverts,
        Lies // about what the shares contract has
    }

    Manner public manner;
    address private _target;
    bytes private _call;
    bool private _isInCall;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function behave(Manner manner_) external {
        manner = manner_;
    }

    function callBack(address to, bytes calldata data) external {
        manner = Manner.CallsBack;
        _target = to;
        _call = data;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (manner == Manner.ReturnsFalse) return false;
        require(manner != Manner.Reverts, "refused");
        if (manner == Manner.CallsBack) _reenter();
        bool done = super.transfer(to, amount);
        if (manner == Manner.TakesFee) _burn(to, 1);
        if (manner == Manner.CallsBack) _reenter();
        return done;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return manner == Manner.Lies ? type(uint128).max : super.balanceOf(account);
    }

    /// @dev Whether the call works is the callee's matter.
    function _reenter() private {
        if (_isInCall) return;
        _isInCall = true;
        (bool done,) = _target.call(_call);
        done;
        _isInCall = false;
    }
}

/// @dev Holds units and passports; does on its next receipt what it was told to.
contract HolderDouble is IERC1155Receiver {
    bool public accepts = true;
    uint256 public receipts;
    address private _target;
    bytes[] private _calls;

    function refuse() external {
        accepts = false;
    }

    function onReceipt(address to, bytes[] memory calls) external {
        _target = to;
        _calls = calls;
        receipts = 0;
    }

    function act(address to, bytes calldata data) external returns (bytes memory) {
        (bool done, bytes memory result) = to.call(data);
        require(done, "act");
        return result;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata)
        external
        returns (bytes4)
    {
        return _answer(this.onERC1155Received.selector);
    }

    function onERC1155BatchReceived(
        address,
        address,
        uint256[] calldata,
        uint256[] calldata,
        bytes calldata
    ) external returns (bytes4) {
        return _answer(this.onERC1155BatchReceived.selector);
    }

    function supportsInterface(bytes4) external pure returns (bool) {
        return true;
    }

    function _answer(bytes4 selector) private returns (bytes4) {
        ++receipts;
        if (receipts == 1) {
            for (uint256 i = 0; i < _calls.length; ++i) {
                (bool done,) = _target.call(_calls[i]);
                require(done, "reentrant call failed");
            }
        }
        return accepts ? selector : bytes4(0);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {
    ERC20TransferAuthorization
} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";

/// @dev ERC-2612, and ERC-3009 as the standard has it: any 32 bytes are a nonce, used once.
/// OpenZeppelin's extension, which is taken for its signatures of contract wallets (ERC-1271),
/// counts nonces by keys; an escrow id as nonce needs free ones.
abstract contract TransferAuthorization is ERC20Permit, ERC20TransferAuthorization {
    function nonces(address owner)
        public
        view
        virtual
        override(ERC20Permit, Nonces)
        returns (uint256)
    {
        return super.nonces(owner);
    }

    function authorizationState(address authorizer, bytes32 nonce)
        public
        view
        override
        returns (bool)
    {
        return ERC3009.authorizationState(authorizer, nonce);
    }

    function _consumeNonce(address authorizer, bytes32 nonce) internal override {
        ERC3009._consumeNonce(authorizer, nonce);
    }

    function _useCheckedNonce(address owner, uint256 nonce)
        internal
        virtual
        override(Nonces, NoncesKeyed)
    {
        super._useCheckedNonce(owner, nonce);
    }
}

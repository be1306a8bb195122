// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    ERC20TransferAuthorization
} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @dev ERC-3009 as the standard has it: any 32 bytes are a nonce, used once. OpenZeppelin's
/// extension, which is taken for its signatures of contract wallets (ERC-1271), counts nonces by
/// keys; an escrow id as nonce needs free ones.
abstract contract TransferAuthorization is ERC20TransferAuthorization {
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
}

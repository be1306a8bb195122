// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC3009, IERC3009Cancel} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {
    IERC1155MetadataURI
} from "@openzeppelin/contracts/token/ERC1155/extensions/IERC1155MetadataURI.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";

import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "../src/interfaces/IC4EToken.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {IChargerShares} from "../src/interfaces/IChargerShares.sol";
import {INetworkPolicy} from "../src/interfaces/INetworkPolicy.sol";
import {INetworkTimelock} from "../src/interfaces/INetworkTimelock.sol";
import {INoticeUpgradeable} from "../src/interfaces/INoticeUpgradeable.sol";
import {AssetPolicy, Batch, Leaf, OperatorId, PolicyParameters} from "../src/Types.sol";
import {vm} from "./Vm.sol";

/// @title The contracts as tests see them: what each can be asked beyond what its interface says.
/// @dev Tests never compile a contract of `src` into their own code, so they need neither its
/// optimizer nor the minutes that this takes; `create` deploys what `forge build` made of the
/// sources alone. Deployment.t.sol shows that this is, byte for byte, what is shipped.

/// @dev Deploys `src/NAME.sol`, from whoever the cheat code's caller is.
function create(string memory name, bytes memory arguments) returns (address) {
    return vm.deployCode(string.concat(name, ".sol:", name), arguments);
}

/// @dev The initcode that `create` runs, without arguments.
function codeOf(string memory name) view returns (bytes memory) {
    return vm.getCode(string.concat(name, ".sol:", name));
}

interface Coin is IERC20Metadata, IERC20Permit, IERC3009, IERC3009Cancel, IERC5267 {
    function nonces(address owner, uint192 key) external view returns (uint256);

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature)
        external;
}

interface C4EToken is IC4EToken, Coin, IERC5805 {
    function GENESIS() external view returns (uint256);
    function SCHEDULED() external view returns (uint256);
    function CAP() external view returns (uint256);
    function PERIOD() external view returns (uint256);
    function BUCKET() external view returns (uint256);
}

interface TestEuro is Coin {
    error NotFaucetOwner(address caller);

    function faucetOwner() external view returns (address);
    function faucet(address to, uint256 amount) external;
}

interface Upgradeable is INoticeUpgradeable {
    function UPGRADE_NOTICE() external view returns (uint40);
    function UPGRADE_TERM() external view returns (uint40);
    function UPGRADE_INTERFACE_VERSION() external view returns (string memory);
    function proxiableUUID() external view returns (bytes32);
    function upgradeToAndCall(address implementation, bytes calldata data) external payable;
}

interface EmissionController is Upgradeable {
    function initialize(address owner) external;
}

interface NetworkPolicy is INetworkPolicy, Upgradeable {
    function MOST_ASSETS() external view returns (uint256);

    function initialize(
        address owner,
        uint40 from,
        PolicyParameters calldata parameters,
        AssetPolicy[] calldata assets
    ) external;
}

interface AttesterRegistry is IAttesterRegistry, Upgradeable {
    struct Genesis {
        address signer;
        address beneficiary;
    }

    function C4E() external view returns (address);
    function HUB() external view returns (address);
    function BOND() external view returns (uint96);
    function UNBONDING() external view returns (uint40);
    function MOST_FROZEN() external view returns (uint40);
    function FREEZE_CYCLE() external view returns (uint40);
    function MOST_ATTESTERS() external view returns (uint256);
    function OPERATOR_NOTICE() external view returns (uint40);

    function initialize(
        address owner,
        Genesis[] calldata attesters,
        OperatorId operatorId,
        Operator calldata keys
    ) external;
}

interface ChargerPassport is IChargerPassport, IERC721Metadata, IERC5805, IERC5267 {
    function POLICY() external view returns (address);
    function REGISTRY() external view returns (address);
    function C4E() external view returns (address);
    function EMISSION_CONTROLLER() external view returns (address);
    function MAX_COMMISSION_BPS() external view returns (uint16);
    function UNRULED_BOND_BPS() external view returns (uint256);
    function nonces(address owner) external view returns (uint256);
}

interface ChargerShares is IChargerShares, IERC1155MetadataURI {
    function PASSPORT() external view returns (address);
    function HUB() external view returns (address);
    function EMISSION_CONTROLLER() external view returns (address);
    function UNITS() external view returns (uint256);
    function MAX_ASSETS() external view returns (uint256);
}

interface NetworkTimelock is INetworkTimelock, IAccessControl {
    function LEAST_DELAY() external view returns (uint256);
    function DEFAULT_ADMIN_ROLE() external view returns (bytes32);
    function PROPOSER_ROLE() external view returns (bytes32);
    function CANCELLER_ROLE() external view returns (bytes32);
    function EXECUTOR_ROLE() external view returns (bytes32);
    function getMinDelay() external view returns (uint256);
    function updateDelay(uint256 newDelay) external;

    function schedule(
        address target,
        uint256 value,
        bytes calldata data,
        bytes32 predecessor,
        bytes32 salt,
        uint256 delay
    ) external;

    function execute(
        address target,
        uint256 value,
        bytes calldata data,
        bytes32 predecessor,
        bytes32 salt
    ) external payable;

    function hashOperation(
        address target,
        uint256 value,
        bytes calldata data,
        bytes32 predecessor,
        bytes32 salt
    ) external pure returns (bytes32);

    function cancel(bytes32 id) external;
}

interface SettlementHub is Upgradeable {
    function initialize(address owner) external;
}

/// @dev Of test/optimized.
interface BatchLibCaller {
    function typehash() external pure returns (bytes32);
    function hashBatch(Batch calldata batch) external pure returns (bytes32);
    function hashLeaves(Leaf[] calldata leaves) external pure returns (bytes32);

    /// @dev Memory that is in use must survive, and what comes after must be sound.
    function hashLeavesBetween(Leaf[] calldata leaves, bytes calldata text)
        external
        pure
        returns (bytes memory before, bytes32 hash, bytes memory later);

    function gasOfHashes(Leaf[] calldata leaves)
        external
        view
        returns (uint256 packed, uint256 plain);

    function identityOf(Batch calldata batch, uint256 leaf) external pure returns (bytes32);
}

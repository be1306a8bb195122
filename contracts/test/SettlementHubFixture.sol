// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {ISettlementHub, ISettlementTypes} from "../src/interfaces/ISettlementHub.sol";
import {
    Attestation,
    Batch,
    Leaf,
    LeafMeter,
    LeafMoney,
    LeafParty,
    OperatorId,
    PolicyParameters,
    Rail
} from "../src/Types.sol";
import {Coin, SettlementHub, create} from "./Contracts.sol";
import {Deployment} from "./Deployment.sol";
import {vm} from "./Vm.sol";

/// @title The hub among the contracts of production, with passports, payers and a gateway.
abstract contract SettlementHubFixture is Deployment, ISettlementTypes {
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    uint256 internal constant HOST_KEY = uint256(keccak256("host"));
    uint256 internal constant GATEWAY_KEY = uint256(keccak256("gateway"));
    address internal constant GOVERNOR = address(0x60F);
    address internal constant STRANGER = address(0x57A);
    address internal constant KEEPER = address(0xCEE);
    address internal constant PROPOSER = address(0xB0D);
    uint32 internal constant RATED_W = 44_000;
    uint32 internal constant SESSION = 3600;
    uint32 internal constant POLICY_VERSION = 1;
    uint128 internal constant EURO_RATE = 20e6;
    uint128 internal constant C4E_RATE = 1e6;
    uint16 internal constant COMMISSION_BPS = 3000;

    address internal immutable HOST = vm.addr(HOST_KEY);
    address internal immutable GATEWAY = vm.addr(GATEWAY_KEY);

    /// @dev In ascending order, as a batch's table.
    bytes32[] internal passports;
    /// @dev When the first session starts; session n starts n x 3,700 s later on EVSE 1.
    uint40 internal base;
    /// @dev The second half of the hub, called by itself.
    ISettlementHub internal court;

    function setUp() public virtual {
        deployAll(2);
    }

    /// @dev The court knows the others before they are: its deployer's nonces tell where.
    function deployAll(uint256 passportCount) internal {
        uint256 first = vm.getNonce(address(this)) + 1;
        court = ISettlementHub(
            create(
                "SettlementCourt",
                abi.encode(
                    created(first + 2),
                    created(first + 10),
                    created(first + 11),
                    created(first + 4),
                    created(first + 7),
                    created(first)
                )
            )
        );
        deploy();
        for (uint256 i = 0; i < passportCount; ++i) {
            passports.push(registerOne(i));
        }
        skip(3 days);
        for (uint256 i = 0; i < passportCount; ++i) {
            passport.confirm(passports[i]);
        }
        sortPassports();
        base = uint40(time());
        skip(10 days);
    }

    function created(uint256 nonce) private view returns (address) {
        return vm.computeCreateAddress(address(this), nonce);
    }

    function deployHub() internal override returns (address) {
        SettlementHub implementation = SettlementHub(
            create(
                "SettlementHub",
                abi.encode(
                    address(c4e),
                    address(passport),
                    address(shares),
                    address(policy),
                    address(registry),
                    address(timelock),
                    address(court)
                )
            )
        );
        return proxy(
            address(implementation), abi.encodeCall(SettlementHub.initialize, (address(timelock)))
        );
    }

    function registerOne(uint256 number) internal returns (bytes32) {
        IChargerPassport.RegistrationRequest memory asked;
        asked.manufacturer = "ALFEN";
        asked.serial = string.concat("ACE-", vm.toString(number));
        asked.operatorId = OPERATOR;
        asked.host = vm.addr(hostKey(number));
        asked.metadataDigest = keccak256("metadata");
        asked.meterKeyHash = keccak256(abi.encode("meter", number));
        asked.commissionBps = COMMISSION_BPS;
        asked.protocols = 3;
        asked.ratedW = RATED_W;
        asked.evseCount = 2;
        asked.topic = address(0x1001);
        asked.sequenceNumber = 7;
        asked.nonce = keccak256("nonce");
        Attestation memory attestation = attest(passport.registrationDigest(asked));
        bytes memory consent = sign(hostKey(number), passport.consentDigest(asked));
        return passport.register(asked, attestation, consent);
    }

    /// @dev One host for all; tests of gas have one for each.
    function hostKey(uint256) internal view virtual returns (uint256) {
        return HOST_KEY;
    }

    function sortPassports() private {
        for (uint256 i = 1; i < passports.length; ++i) {
            for (uint256 k = i; k > 0 && passports[k - 1] > passports[k]; --k) {
                (passports[k - 1], passports[k]) = (passports[k], passports[k - 1]);
            }
        }
    }

    function appointGovernor() internal {
        vm.prank(address(timelock));
        policy.setGovernor(GOVERNOR);
    }

    // Payers ------------------------------------------------------------------------------------

    function payerKey(uint256 number) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("payer", number)));
    }

    function payerOf(uint256 number) internal pure returns (address) {
        return vm.addr(payerKey(number));
    }

    function keyOf(uint256 session) internal pure returns (bytes16) {
        return bytes16(keccak256(abi.encode("session", session)));
    }

    function fund(address asset, address account, uint256 amount) internal {
        if (asset == address(c4e)) c4e.transfer(account, amount);
        else euro.faucet(account, amount);
    }

    function openDigest(OperatorId operatorId, bytes16 key, address asset, uint64 max, uint64 until)
        internal
        view
        returns (bytes32)
    {
        return typed(
            keccak256(
                abi.encode(
                    keccak256(
                        "Open(bytes8 operatorId,bytes16 sessionKey,address asset,uint64 max,uint64 deadline)"
                    ),
                    operatorId,
                    key,
                    asset,
                    max,
                    until
                )
            )
        );
    }

    function typed(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("ChargEra Settlement"),
                keccak256("1"),
                block.chainid,
                address(hub)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @dev Payer `session` funds, approves and opens an escrow for the session of that number.
    function openEscrow(address asset, uint256 session, uint64 max) internal returns (bytes32) {
        address payer = payerOf(session);
        fund(asset, payer, max);
        vm.prank(payer);
        IERC20(asset).approve(address(hub), max);
        return openApproved(asset, session, max);
    }

    function openApproved(address asset, uint256 session, uint64 max) internal returns (bytes32) {
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(session), openDigest(OPERATOR, keyOf(session), asset, max, until));
        return hub.open(payerOf(session), OPERATOR, keyOf(session), asset, max, until, signature);
    }

    /// @dev Like the two below: by payer `payer`, who has the money, for session `session`.
    function openByPermit(Coin coin, uint256 payer, uint256 session, uint64 max) internal {
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(payer), openDigest(OPERATOR, keyOf(session), address(coin), max, until));
        bytes32 digest = permitDigest(coin, payerOf(payer), max, until);
        openByPermit(coin, payer, session, max, signature, digest);
    }

    function openByPermit(
        Coin coin,
        uint256 payer,
        uint256 session,
        uint64 max,
        bytes memory signature,
        bytes32 digest
    ) internal {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(payerKey(payer), digest);
        address asset = address(coin);
        uint64 until = uint64(time());
        bytes16 key = keyOf(session);
        hub.openWithPermit(payerOf(payer), OPERATOR, key, asset, max, until, signature, v, r, s);
    }

    function openByAuthorization(Coin coin, uint256 payer, uint256 session, uint64 max) internal {
        address from = payerOf(payer);
        bytes16 key = keyOf(session);
        uint64 until = uint64(time() + 1);
        bytes32 id = keccak256(abi.encode(from, OPERATOR, key));
        bytes memory signature = sign(payerKey(payer), receiveDigest(coin, from, max, until, id));
        hub.openWithAuthorization(from, OPERATOR, key, address(coin), max, until, signature);
    }

    function permitDigest(Coin coin, address owner, uint256 value, uint256 until)
        internal
        view
        returns (bytes32)
    {
        bytes32 structHash = keccak256(
            abi.encode(PERMIT_TYPEHASH, owner, address(hub), value, coin.nonces(owner), until)
        );
        return keccak256(abi.encodePacked(hex"1901", coin.DOMAIN_SEPARATOR(), structHash));
    }

    function receiveDigest(Coin coin, address from, uint256 value, uint256 until, bytes32 nonce)
        internal
        view
        returns (bytes32)
    {
        bytes32 structHash =
            keccak256(abi.encode(RECEIVE_TYPEHASH, from, address(hub), value, 0, until, nonce));
        return keccak256(abi.encodePacked(hex"1901", coin.DOMAIN_SEPARATOR(), structHash));
    }

    function escrowIdOf(uint256 session) internal pure returns (bytes32) {
        return keccak256(abi.encode(payerOf(session), OPERATOR, keyOf(session)));
    }

    function lower(uint256 session, uint64 max) internal {
        uint64 until = uint64(time());
        hub.lowerMax(
            payerOf(session),
            OPERATOR,
            keyOf(session),
            max,
            until,
            sign(OPERATOR_KEY, lowerDigest(escrowIdOf(session), max, until))
        );
    }

    function lowerDigest(bytes32 escrowId, uint64 max, uint64 until)
        internal
        view
        returns (bytes32)
    {
        bytes32 typehash = keccak256("Lower(bytes32 escrowId,uint64 max,uint64 deadline)");
        return typed(keccak256(abi.encode(typehash, escrowId, max, until)));
    }

    function depositGateway(address asset, uint128 amount) internal {
        fund(asset, GATEWAY, amount);
        vm.startPrank(GATEWAY);
        IERC20(asset).approve(address(hub), amount);
        hub.depositGateway(asset, amount);
        vm.stopPrank();
    }

    function prepay(uint128 amount) internal {
        c4e.transfer(HOST, amount);
        vm.startPrank(HOST);
        c4e.approve(address(hub), amount);
        hub.prepay(amount);
        vm.stopPrank();
    }

    // Batches -----------------------------------------------------------------------------------

    function emptyBatch(address asset, uint256 leaves) internal view returns (Batch memory batch) {
        batch.operatorId = OPERATOR;
        batch.asset = asset;
        batch.checkpoint = keccak256("checkpoint");
        batch.treeSize = 1000;
        batch.topic = address(0x1001);
        batch.sequenceNumber = 9;
        batch.validUntil = uint64(time() + 1 days);
        batch.proposer = PROPOSER;
        batch.c4eRate = asset == address(c4e) ? C4E_RATE : EURO_RATE;
        batch.passports = passports;
        batch.leaves = new Leaf[](leaves);
        batch.health = new uint256[](0);
    }

    /// @dev The leaf of a session; its number is also its cdrNo and log index.
    function leafOf(uint256 session, uint256 place, Rail rail, uint64 amount, uint64 vat)
        internal
        view
        returns (Leaf memory)
    {
        uint40 start = base + uint40(session * 3700);
        return Leaf({
            evidenceDigest: keccak256(abi.encode("cdr", session)),
            party: party(payerOf(session), uint48(session), uint48(session)),
            money: money(amount, vat, keyOf(session)),
            meter: meter(start, start + SESSION, 10_000, place, 1, rail, POLICY_VERSION)
        });
    }

    function party(address payer, uint48 cdrNo, uint48 logIndex) internal pure returns (LeafParty) {
        return LeafParty.wrap(uint256(uint160(payer)) << 96 | uint256(cdrNo) << 48 | logIndex);
    }

    function money(uint64 amount, uint64 vat, bytes16 key) internal pure returns (LeafMoney) {
        return LeafMoney.wrap(uint256(amount) << 192 | uint256(vat) << 128 | uint128(key));
    }

    function meter(
        uint40 start,
        uint40 end,
        uint48 importWh,
        uint256 place,
        uint256 evse,
        Rail rail,
        uint32 version
    ) internal pure returns (LeafMeter) {
        return LeafMeter.wrap(
            uint256(start) << 216 | uint256(end) << 176 | uint256(importWh) << 128 | place << 72
                | evse << 64 | uint256(rail) << 56 | uint256(5) << 48 | uint256(version) << 16
        );
    }

    /// @dev One wallet leaf with its escrow opened, net 5, VAT 1.
    function walletBatch(address asset, uint256 session) internal returns (Batch memory batch) {
        openEscrow(asset, session, 10e6);
        batch = emptyBatch(asset, 1);
        batch.leaves[0] = leafOf(session, 0, Rail.Wallet, 5e6, 1e6);
    }

    /// @dev One fiat leaf that the gateway covers, net 5, VAT 1.
    function fiatBatch(address asset, uint256 session) internal returns (Batch memory batch) {
        depositGateway(asset, 5e6);
        batch = emptyBatch(asset, 1);
        batch.leaves[0] = leafOf(session, 0, Rail.Fiat, 5e6, 1e6);
        batch.fiatTotal = 5e6;
        batch.gateway = GATEWAY;
    }

    function propose(Batch memory batch) internal returns (bytes32) {
        return propose(batch, 7);
    }

    function propose(Batch memory batch, uint112 signers) internal returns (bytes32) {
        bytes32 digest = hub.batchDigest(batch);
        bytes memory signature;
        if (batch.gateway != address(0)) signature = sign(GATEWAY_KEY, digest);
        return hub.propose(batch, attest(digest, signers), signature);
    }

    function expectProposeRefused(Batch memory batch, bytes memory reason) internal {
        bytes32 digest = hub.batchDigest(batch);
        Attestation memory attestation = attest(digest);
        bytes memory signature = sign(GATEWAY_KEY, digest);
        vm.expectRevert(reason);
        hub.propose(batch, attestation, signature);
    }

    function settle(Batch memory batch) internal returns (uint48) {
        skip(1 days + 1);
        vm.prank(KEEPER);
        return hub.settle(batch);
    }

    function proposeAndSettle(Batch memory batch) internal returns (uint48) {
        propose(batch);
        return settle(batch);
    }

    function freeOf(address asset) internal view returns (uint128 free) {
        (free,) = hub.gatewayOf(GATEWAY, asset);
    }

    function lockedOf(address asset) internal view returns (uint128 locked) {
        (, locked) = hub.gatewayOf(GATEWAY, asset);
    }

    function dispute(Batch memory batch, uint256 leaf, address disputer)
        internal
        returns (uint256 disputeId)
    {
        c4e.transfer(disputer, 1_000_000e6);
        vm.startPrank(disputer);
        c4e.approve(address(hub), type(uint256).max);
        disputeId = hub.dispute(batch, leaf, keccak256("it never reached a car"));
        vm.stopPrank();
    }

    function parametersOf(uint32 version) internal view returns (PolicyParameters memory it) {
        (, it) = policy.parametersOf(version);
    }
}

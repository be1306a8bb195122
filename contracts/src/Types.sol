// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Values that several contracts share, and how they are packed.
/// Amounts are in the minor unit of their asset, energy in Wh, power in W, times in Unix seconds.

/// @dev OCPI country code, `*` and party id in ASCII, padded with zeros: `NL*C4E`.
type OperatorId is bytes8;

using {operatorEquals as ==, operatorDiffers as !=} for OperatorId global;

function operatorEquals(OperatorId a, OperatorId b) pure returns (bool) {
    return OperatorId.unwrap(a) == OperatorId.unwrap(b);
}

function operatorDiffers(OperatorId a, OperatorId b) pure returns (bool) {
    return OperatorId.unwrap(a) != OperatorId.unwrap(b);
}

/// @notice How a charging session is paid.
enum Rail {
    Wallet, // from an escrow that the payer opened
    Fiat // from what the gateway prepaid
}

/// @dev payer (160 bits) | cdrNo (48) | logIndex (48)
type LeafParty is uint256;
/// @dev amount (64) | vat (64) | sessionKey (128)
type LeafMoney is uint256;
/// @dev start (40) | end (40) | importWh (48) | exportWh (48) | passport (8) | evse (8) | rail (8)
/// | proofLevel (8) | policyVersion (32) | zero (16); the first named is the most significant.
type LeafMeter is uint256;

/// @notice What one CDR asks the hub to pay: four words.
/// @param evidenceDigest RFC 9162 leaf hash of the CDR's entry in the operator's log.
/// @param party Who pays (zero: nobody's wallet), the CDR's number in its lane, its log index.
/// @param money Net amount and VAT in the batch's asset; the session's pseudonym.
/// @param meter When and how much, at which passport of the batch's table, under which policy.
struct Leaf {
    bytes32 evidenceDigest;
    LeafParty party;
    LeafMoney money;
    LeafMeter meter;
}

using {payer, cdrNo, logIndex} for LeafParty global;
using {amount, vat, sessionKey} for LeafMoney global;
using {
    start, end, importWh, exportWh, passportIndex, evse, rail, proofLevel, policyVersion, isWellFormed
} for LeafMeter global;

function payer(LeafParty party) pure returns (address) {
    return address(uint160(LeafParty.unwrap(party) >> 96));
}

function cdrNo(LeafParty party) pure returns (uint48) {
    return uint48(LeafParty.unwrap(party) >> 48);
}

function logIndex(LeafParty party) pure returns (uint48) {
    return uint48(LeafParty.unwrap(party));
}

function amount(LeafMoney money) pure returns (uint64) {
    return uint64(LeafMoney.unwrap(money) >> 192);
}

function vat(LeafMoney money) pure returns (uint64) {
    return uint64(LeafMoney.unwrap(money) >> 128);
}

function sessionKey(LeafMoney money) pure returns (bytes16) {
    return bytes16(uint128(LeafMoney.unwrap(money)));
}

function start(LeafMeter meter) pure returns (uint40) {
    return uint40(LeafMeter.unwrap(meter) >> 216);
}

function end(LeafMeter meter) pure returns (uint40) {
    return uint40(LeafMeter.unwrap(meter) >> 176);
}

function importWh(LeafMeter meter) pure returns (uint48) {
    return uint48(LeafMeter.unwrap(meter) >> 128);
}

function exportWh(LeafMeter meter) pure returns (uint48) {
    return uint48(LeafMeter.unwrap(meter) >> 80);
}

function passportIndex(LeafMeter meter) pure returns (uint8) {
    return uint8(LeafMeter.unwrap(meter) >> 72);
}

function evse(LeafMeter meter) pure returns (uint8) {
    return uint8(LeafMeter.unwrap(meter) >> 64);
}

function rail(LeafMeter meter) pure returns (Rail) {
    return Rail(uint8(LeafMeter.unwrap(meter) >> 56));
}

function proofLevel(LeafMeter meter) pure returns (uint8) {
    return uint8(LeafMeter.unwrap(meter) >> 48);
}

function policyVersion(LeafMeter meter) pure returns (uint32) {
    return uint32(LeafMeter.unwrap(meter) >> 16);
}

/// @dev Bits of a meter word that are zero: of the rail all but the lowest, and those that mean
/// nothing.
uint256 constant MALFORMED = 0xfe << 56 | 0xffff;

/// @dev A rail that is known, and nothing in the bits that mean nothing.
function isWellFormed(LeafMeter meter) pure returns (bool) {
    return LeafMeter.unwrap(meter) & MALFORMED == 0;
}

/// @notice Bills of one operator in one asset, as attesters and the gateway sign them.
/// Its identity is the EIP-712 digest of
/// `Batch(bytes8 operatorId,address asset,bytes32 checkpoint,uint64 treeSize,address topic,
/// uint64 sequenceNumber,uint64 validUntil,address proposer,uint128 c4eRate,address gateway,
/// uint128 fiatTotal,bytes32[] passports,uint256[] leaves,uint256[] health)` (one line) in the
/// hub's domain, where `leaves` are the four words of each leaf in their order.
/// @param checkpoint Root hash of the anchored checkpoint that all leaves stand under.
/// @param treeSize Its tree size.
/// @param topic The topic that it is anchored on, as a long-zero address (shard, realm, number).
/// @param sequenceNumber Its message on that topic.
/// @param validUntil Last second at which the batch may be proposed.
/// @param proposer Who is paid for proposing, whoever sends it.
/// @param c4eRate C4E minor units for 10^6 minor units of the asset; 10^6 in a C4E lane.
/// @param gateway Who prepaid the fiat leaves; zero where there are none.
/// @param fiatTotal Sum of the net amounts of the fiat leaves.
/// @param passports The passports that leaves name by their place here, in ascending order.
/// @param health Health reports: passport place (8) | asOf (40) | uptimeBps (16) | faultScore (16).
struct Batch {
    OperatorId operatorId;
    address asset;
    bytes32 checkpoint;
    uint64 treeSize;
    address topic;
    uint64 sequenceNumber;
    uint64 validUntil;
    address proposer;
    uint128 c4eRate;
    address gateway;
    uint128 fiatTotal;
    bytes32[] passports;
    Leaf[] leaves;
    uint256[] health;
}

/// @notice Signatures of attesters over one digest.
/// @param signers Bit i: the attester with registry index i has signed.
/// @param signatures 65 bytes each (r, s, v), by ascending registry index.
struct Attestation {
    uint112 signers;
    bytes[] signatures;
}

/// @notice What the network's policy says of an asset that bills may be paid in.
/// @param asset ERC-20 contract with at most 8 decimals.
/// @param decimals Its decimals.
/// @param currency ISO 4217 code that it stands for; zero for C4E.
/// @param ceilingPerKwh Most that a bill may ask for a kWh, in minor units of the asset.
/// @param ceilingPerHour Most for an hour from start to end.
/// @param ceilingFlat Most for a session beside both.
/// @param c4eRate C4E minor units for 10^6 minor units of the asset, where the log has no rate yet.
struct AssetPolicy {
    address asset;
    uint8 decimals;
    bytes3 currency;
    uint64 ceilingPerKwh;
    uint64 ceilingPerHour;
    uint64 ceilingFlat;
    uint128 c4eRate;
}

/// @notice The parameters of one policy version; basis points of a net amount, seconds, Wh.
/// @param feeBps Burned as C4E.
/// @param opsBps Paid to signers, proposer and settler of a batch.
/// @param reserveBps Part of the host's commission kept for maintenance.
/// @param settlementWindow How long a batch may be challenged.
/// @param refundAskAfter Age from which an escrow's payer may ask it back.
/// @param refundPayAfter How long after asking he is paid.
/// @param contestPeriod How long a registration waits before its passport is minted.
/// @param rulingTimeout After which an unruled dispute or contest ends by its default.
/// @param anchorInterval Longest time between two anchored checkpoints while there is news.
/// @param anchorSessions Closed sessions after which a checkpoint is anchored earlier.
/// @param disputeBond Least bond of a dispute or contest, in C4E minor units.
/// @param priceStepInterval Shortest time between two price changes of one station.
/// @param lowUseBps Utilisation under which a charger counts as little used.
/// @param minedHours Bit h: sessions that start in that UTC hour of the week (0 = Monday 00:00) count.
/// @param serviceEnergyWh Energy since service that opens a maintenance order.
/// @param serviceDays Days since service that open one.
/// @param faultScoreMin Fault score that opens one.
/// @param uptimeBpsMin Uptime under which one opens.
struct PolicyParameters {
    uint16 feeBps;
    uint16 opsBps;
    uint16 reserveBps;
    uint32 settlementWindow;
    uint32 refundAskAfter;
    uint32 refundPayAfter;
    uint32 contestPeriod;
    uint32 rulingTimeout;
    uint32 anchorInterval;
    uint32 anchorSessions;
    uint64 disputeBond;
    uint32 priceStepInterval;
    uint16 lowUseBps;
    uint168 minedHours;
    uint64 serviceEnergyWh;
    uint32 serviceDays;
    uint16 faultScoreMin;
    uint16 uptimeBpsMin;
}

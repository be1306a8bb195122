// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {BatchLib} from "./BatchLib.sol";
import {Challenges} from "./Challenges.sol";
import {HubEscrows} from "./HubEscrows.sol";
import {HubLedger} from "./HubLedger.sol";
import {ISettlementHub} from "./interfaces/ISettlementHub.sol";
import {Split} from "./Split.sol";
import {Attestation, Batch, Leaf, OperatorId, PolicyParameters, Rail} from "./Types.sol";

/// @title SettlementHub: see ISettlementHub for what each function promises.
/// @dev Who holds money and how it moves in and out stands in HubLedger and HubEscrows; here is the
/// life of a batch: proposed, challenged or disputed, settled or killed.
contract SettlementHub is HubEscrows {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @notice Most leaves of a batch, most passports in its table, most health reports.
    uint256 public constant MAX_LEAVES = 48;

    uint16 private constant SLASH_BPS = 2_000;
    uint256 private constant LOST_BOND_TO_HOST_BPS = 500;

    uint8 private constant KILLED_WITHOUT_QUORUM = 1;
    uint8 private constant KILLED_FOR_OVERLAP = 2;
    uint8 private constant KILLED_IMPOSSIBLE = 3;

    /// @param rate C4E minor units for 10^6 of the asset.
    /// @param at End of the days that `rate` has used; in them it does not change.
    struct LaneRate {
        uint128 rate;
        uint40 at;
    }

    /// @dev A passport of a batch while the batch is paid: facts and sums.
    struct Earning {
        bool isRead;
        uint16 commissionBps;
        uint40 registeredAt;
        uint40 retiredAt;
        address host;
        uint256 hostSum;
    }

    /// @dev A batch while it is paid. Sums are in minor units of its asset, `burned` in C4E.
    struct Run {
        bytes32 digest;
        bytes32 lane;
        address asset;
        uint8 assetIndex;
        bool isC4E;
        uint128 c4eRate;
        address market;
        // The policy version read last.
        uint32 version;
        uint16 feeBps;
        uint16 opsBps;
        uint16 reserveBps;
        // The word of the lane's bits that is held here.
        uint256 word;
        uint256 bits;
        // By place in the batch's table of passports.
        Earning[] earnings;
        uint256[] holders;
        uint256 burned;
        uint256 feesInAsset;
        uint256 reserve;
        uint256 ops;
        uint256 fiatPaid;
    }

    mapping(bytes32 digest => BatchState) private _batches;
    mapping(bytes32 lane => LaneRate) private _rates;
    mapping(bytes32 lane => mapping(uint256 word => uint256)) private _settled;
    mapping(uint256 attester => uint256) private _exposures;
    mapping(uint256 disputeId => Dispute) private _disputes;

    constructor(
        address c4e,
        address passport,
        address shares,
        address policy,
        address registry,
        address timelock
    ) HubLedger(c4e, passport, shares, policy, registry, timelock) {}

    // Proposing ---------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function propose(
        Batch calldata batch,
        Attestation calldata attestation,
        bytes calldata gatewaySignature
    ) external returns (bytes32 digest) {
        if (block.timestamp > batch.validUntil) revert Expired(batch.validUntil);
        digest = batchDigest(batch);
        if (_batches[digest].state != State.None) revert BatchKnown(digest);
        uint256 walletTotal = _checkBatch(batch);
        _checkRate(batch);
        uint256 signers = REGISTRY.checkQuorum(digest, attestation);
        _expose(attestation.signers, Split.exposureOf(walletTotal, batch.c4eRate, signers));
        _lock(batch, digest, gatewaySignature);

        uint40 windowEndsAt =
            uint40(block.timestamp) + _termsAt(uint40(block.timestamp)).settlementWindow;
        _batches[digest] = BatchState({
            proposedAt: uint40(block.timestamp),
            windowEndsAt: windowEndsAt,
            state: State.Pending,
            quorum: REGISTRY.quorum().toUint8(),
            disputed: 0,
            signers: attestation.signers
        });
        emit Proposed(
            digest,
            batch.operatorId,
            batch.asset,
            batch.proposer,
            attestation.signers,
            windowEndsAt
        );
    }

    /// @dev Form and sums; whatever a leaf says in its place, `settle` must be able to pay the
    /// others. Returns what the wallets are asked for.
    function _checkBatch(Batch calldata batch) private view returns (uint256 walletTotal) {
        _assetIndexOf(batch.asset);
        uint256 count = batch.leaves.length;
        if (count == 0 || count > MAX_LEAVES) revert BadBatch("leaves");
        if (batch.health.length > MAX_LEAVES) revert BadBatch("health");
        if (batch.proposer == address(0)) revert BadBatch("proposer");
        _checkPassports(batch.passports);
        uint32 latest = POLICY.latest();
        uint256 fiatTotal;
        bool hasFiat;
        for (uint256 i = 0; i < count; ++i) {
            Leaf calldata leaf = batch.leaves[i];
            if (!leaf.meter.isWellFormed()) revert BadLeaf(i, "meter");
            if (leaf.meter.passportIndex() >= batch.passports.length) revert BadLeaf(i, "passport");
            uint32 version = leaf.meter.policyVersion();
            if (version == 0 || version > latest) revert BadLeaf(i, "policyVersion");
            if (leaf.meter.rail() == Rail.Fiat) {
                hasFiat = true;
                fiatTotal += leaf.money.amount();
            } else {
                if (leaf.party.payer() == address(0)) revert BadLeaf(i, "payer");
                walletTotal += uint256(leaf.money.amount()) + leaf.money.vat();
            }
        }
        if (fiatTotal != batch.fiatTotal) revert BadBatch("fiatTotal");
        if (hasFiat != (batch.gateway != address(0))) revert BadBatch("gateway");
    }

    /// @dev Each once. A table in ascending order, as ours are, costs one comparison a passport.
    function _checkPassports(bytes32[] calldata passports) private pure {
        uint256 count = passports.length;
        if (count > MAX_LEAVES) revert BadBatch("passports");
        bytes32 largest;
        for (uint256 i = 0; i < count; ++i) {
            bytes32 passport = passports[i];
            if (i == 0 || passport > largest) {
                largest = passport;
                continue;
            }
            for (uint256 k = 0; k < i; ++k) {
                if (passports[k] == passport) revert BadBatch("passports");
            }
        }
    }

    function _checkRate(Batch calldata batch) private view {
        (, uint128 least, uint128 most) = rateBounds(batch.operatorId, batch.asset);
        uint128 rate = batch.c4eRate;
        if (rate < least || rate > most) revert RateOutOfRange(rate, least, most);
    }

    /// @dev Adds to what each signer answers for, never more than he can lose.
    function _expose(uint112 signers, uint256 exposure) private {
        if (exposure == 0) return;
        for (uint256 rest = signers; rest != 0; rest &= rest - 1) {
            uint8 index = _lowestOf(rest);
            uint256 total = _exposures[index] + exposure;
            uint256 bond = REGISTRY.bondOf(index);
            if (total > bond) revert OverBond(index, total, bond);
            _exposures[index] = total;
        }
    }

    function _unexpose(Batch calldata batch, uint112 signers) private {
        uint256 exposure =
            Split.exposureOf(_walletTotalOf(batch), batch.c4eRate, _countOf(signers));
        if (exposure == 0) return;
        for (uint256 rest = signers; rest != 0; rest &= rest - 1) {
            _exposures[_lowestOf(rest)] -= exposure;
        }
    }

    /// @dev The gateway signs the digest, so it knows every leaf that it pays.
    function _lock(Batch calldata batch, bytes32 digest, bytes calldata gatewaySignature) private {
        if (batch.gateway == address(0)) return;
        _checkDigestSignature(batch.gateway, digest, gatewaySignature);
        GatewayBalance memory balance = _gateways[batch.gateway][batch.asset];
        uint128 total = batch.fiatTotal;
        if (total > balance.free) revert NotEnough(total, balance.free);
        _gateways[batch.gateway][batch.asset] =
            GatewayBalance(balance.free - total, balance.locked + total);
    }

    // Settling ----------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function settle(Batch calldata batch) external returns (uint48 paid) {
        (bytes32 digest, BatchState memory state) = _pending(batch);
        if (block.timestamp <= state.windowEndsAt) revert WindowOpen(state.windowEndsAt);
        if (!_hasQuorum(state)) {
            _kill(batch, digest, state, KILLED_WITHOUT_QUORUM);
            return 0;
        }
        _batches[digest].state = State.Settled;
        _unexpose(batch, state.signers);
        _moveRate(batch, state.proposedAt);

        Run memory run = _begin(batch, digest);
        uint256 count = batch.leaves.length;
        uint256 fiatAside;
        for (uint256 i = 0; i < count; ++i) {
            Leaf calldata leaf = batch.leaves[i];
            if (state.disputed >> i & 1 == 1) {
                if (leaf.meter.rail() == Rail.Fiat) fiatAside += leaf.money.amount();
            } else if (_takeLeaf(run, batch, leaf)) {
                _divide(run, batch, leaf);
                paid |= uint48(1 << i);
            }
        }
        _keepBits(run);
        _unlock(batch, batch.fiatTotal - fiatAside, run.fiatPaid);
        emit Settled(digest, msg.sender, paid, state.disputed);
        _payOut(run, batch, state.signers);
    }

    function _begin(Batch calldata batch, bytes32 digest) private view returns (Run memory run) {
        run.digest = digest;
        run.lane = _laneOf(batch.operatorId, batch.asset);
        run.asset = batch.asset;
        run.assetIndex = POLICY.assetIndex(batch.asset);
        run.isC4E = batch.asset == address(C4E);
        run.c4eRate = batch.c4eRate;
        run.market = POLICY.market();
        run.word = type(uint256).max;
        run.earnings = new Earning[](batch.passports.length);
        run.holders = new uint256[](batch.passports.length);
    }

    /// @dev Takes what a leaf asks for out of escrow or lock and sets its number's bit, or leaves
    /// everything as it is and returns false.
    function _takeLeaf(Run memory run, Batch calldata batch, Leaf calldata leaf)
        private
        returns (bool)
    {
        uint256 bit = _holdBit(run, leaf.party.cdrNo());
        if (run.bits & bit != 0) return false;
        Earning memory earning = _earningOf(run, batch, leaf.meter.passportIndex());
        if (!Challenges.isRegistered(earning.registeredAt, earning.retiredAt, leaf.meter.end())) {
            return false;
        }
        if (leaf.meter.rail() == Rail.Fiat) run.fiatPaid += leaf.money.amount();
        else if (!_draw(run, batch.operatorId, leaf)) return false;
        run.bits |= bit;
        return true;
    }

    /// @dev Draws a leaf's total, closes the escrow and gives the payer the rest.
    function _draw(Run memory run, OperatorId operatorId, Leaf calldata leaf)
        private
        returns (bool)
    {
        address payer = leaf.party.payer();
        bytes32 escrowId = escrowIdOf(payer, operatorId, leaf.money.sessionKey());
        Escrow memory escrow = _escrows[escrowId];
        if (escrow.assetIndex != run.assetIndex) return false;
        uint256 total = uint256(leaf.money.amount()) + leaf.money.vat();
        if (total > escrow.max) return false;
        _close(escrowId, escrow);
        _credit(payer, run.asset, escrow.max - total);
        return true;
    }

    /// @dev Divides what was taken for a leaf among the sums of the run.
    function _divide(Run memory run, Batch calldata batch, Leaf calldata leaf) private {
        _readFees(run, leaf.meter.policyVersion());
        uint256 place = leaf.meter.passportIndex();
        Earning memory earning = _earningOf(run, batch, place);
        uint256 amount = leaf.money.amount();
        uint256 fee = Split.shareOf(amount, run.feeBps);
        uint256 ops = Split.shareOf(amount, run.opsBps);
        (uint256 reserve, uint256 host, uint256 holders) =
            Split.divide(amount, fee, ops, run.reserveBps, earning.commissionBps);
        run.reserve += reserve;
        run.ops += ops;
        run.holders[place] += holders;
        if (leaf.meter.rail() == Rail.Wallet) host += leaf.money.vat();
        earning.hostSum += host + _takeFee(run, earning.host, fee);
    }

    /// @dev Returns what of the fee in the asset is the host's, because he paid it in C4E.
    function _takeFee(Run memory run, address host, uint256 fee) private returns (uint256) {
        if (run.isC4E) {
            run.burned += fee;
            return 0;
        }
        HostBalance memory balance = _hosts[host];
        uint256 need = Split.inC4E(fee, run.c4eRate);
        bool isTooDear = balance.maxRate != 0 && run.c4eRate > balance.maxRate;
        if (isTooDear || need > balance.amount) {
            run.feesInAsset += fee;
            return 0;
        }
        _hosts[host].amount = uint128(balance.amount - need);
        run.burned += need;
        return fee;
    }

    /// @dev Credits every sum of a run, then moves the holders' part: the only calls to tokens.
    function _payOut(Run memory run, Batch calldata batch, uint112 signers) private {
        _credit(TIMELOCK, run.asset, run.feesInAsset);
        _credit(run.market, run.asset, run.reserve);
        _creditOps(run, batch.proposer, signers);
        uint256 count = run.earnings.length;
        uint256[] memory ids = new uint256[](count);
        uint256 holdersSum;
        for (uint256 i = 0; i < count; ++i) {
            ids[i] = uint256(batch.passports[i]);
            holdersSum += run.holders[i];
            _credit(run.earnings[i].host, run.asset, run.earnings[i].hostSum);
        }
        emit FeesTaken(run.digest, run.burned, run.feesInAsset);
        if (run.burned != 0) C4E.burn(run.burned);
        if (holdersSum == 0) return;
        IERC20(run.asset).safeTransfer(address(SHARES), holdersSum);
        SHARES.notify(run.asset, ids, run.holders);
    }

    function _creditOps(Run memory run, address proposer, uint112 signers) private {
        if (run.ops == 0) return;
        (uint256 eachSigner, uint256 toProposer, uint256 toCaller) =
            Split.divideOps(run.ops, _countOf(signers));
        if (eachSigner != 0) {
            for (uint256 rest = signers; rest != 0; rest &= rest - 1) {
                address beneficiary = REGISTRY.attesterOf(_lowestOf(rest)).beneficiary;
                _credit(beneficiary, run.asset, eachSigner);
            }
        }
        _credit(proposer, run.asset, toProposer);
        _credit(msg.sender, run.asset, toCaller);
    }

    /// @dev Facts of a passport at a place of the table, read once a run.
    function _earningOf(Run memory run, Batch calldata batch, uint256 place)
        private
        view
        returns (Earning memory earning)
    {
        earning = run.earnings[place];
        if (earning.isRead) return earning;
        earning.isRead = true;
        (earning.host, earning.commissionBps, earning.registeredAt, earning.retiredAt) =
            PASSPORT.settlementFacts(batch.passports[place]);
    }

    function _readFees(Run memory run, uint32 version) private view {
        if (run.version == version) return;
        run.version = version;
        (run.feeBps, run.opsBps, run.reserveBps) = POLICY.feesOf(version);
        if (run.market == address(0)) run.reserveBps = 0;
    }

    /// @dev Brings the word of a number into the run, and returns the number's bit in it.
    function _holdBit(Run memory run, uint48 cdrNo) private returns (uint256 bit) {
        uint256 word = cdrNo >> 8;
        if (word != run.word) {
            _keepBits(run);
            run.word = word;
            run.bits = _settled[run.lane][word];
        }
        return 1 << (cdrNo & 0xff);
    }

    function _keepBits(Run memory run) private {
        if (run.word != type(uint256).max) _settled[run.lane][run.word] = run.bits;
    }

    /// @dev Of what a batch had locked, `paid` is gone and the rest is the gateway's again.
    function _unlock(Batch calldata batch, uint256 locked, uint256 paid) private {
        if (batch.gateway == address(0)) return;
        GatewayBalance memory balance = _gateways[batch.gateway][batch.asset];
        _gateways[batch.gateway][batch.asset] = GatewayBalance(
            (balance.free + locked - paid).toUint128(), (balance.locked - locked).toUint128()
        );
    }

    /// @dev The lane's first rate, or the first one after the days that the last one used: what is
    /// settled moves a lane by at most 10 % a day, however many batches there are.
    function _moveRate(Batch calldata batch, uint40 proposedAt) private {
        if (batch.asset == address(C4E)) return;
        LaneRate storage last = _rates[_laneOf(batch.operatorId, batch.asset)];
        uint40 at = last.at;
        if (proposedAt <= at) return;
        if (at == 0) at = proposedAt;
        else at += uint40(Split.daysSince(at, proposedAt) * 1 days);
        (last.rate, last.at) = (batch.c4eRate, at);
    }

    // Killing -----------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function killWithoutQuorum(Batch calldata batch) external {
        (bytes32 digest, BatchState memory state) = _pending(batch);
        if (_hasQuorum(state)) revert StillQuorum(digest);
        _kill(batch, digest, state, KILLED_WITHOUT_QUORUM);
    }

    /// @inheritdoc ISettlementHub
    function challengeOverlap(
        Batch calldata batch,
        uint256 leaf,
        Batch calldata other,
        uint256 otherLeaf
    ) external {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        bytes32 otherDigest = batchDigest(other);
        BatchState memory otherState = _batches[otherDigest];
        if (otherState.state != State.Pending && otherState.state != State.Settled) {
            revert WrongState(otherDigest, otherState.state);
        }
        if (otherLeaf >= other.leaves.length) revert BadLeaf(otherLeaf, "place");
        Leaf calldata later = batch.leaves[leaf];
        Leaf calldata earlier = other.leaves[otherLeaf];
        if (
            batch.operatorId != other.operatorId
                || later.party.logIndex() <= earlier.party.logIndex()
                || !Challenges.overlap(batch, later, other, earlier)
        ) revert NoFault();
        _kill(batch, digest, state, KILLED_FOR_OVERLAP);
        // Who signed one of the two may have been right.
        uint112 guilty = state.signers & otherState.signers;
        if (guilty != 0) REGISTRY.slash(guilty, SLASH_BPS, msg.sender);
    }

    /// @inheritdoc ISettlementHub
    function challengeImpossible(Batch calldata batch, uint256 leaf) external {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        if (
            !Challenges.isImpossible(batch, batch.leaves[leaf], state.proposedAt, PASSPORT, POLICY)
        ) revert NoFault();
        _kill(batch, digest, state, KILLED_IMPOSSIBLE);
        REGISTRY.slash(state.signers, SLASH_BPS, msg.sender);
    }

    /// @dev As if the batch had never been; only its digest stays known.
    function _kill(Batch calldata batch, bytes32 digest, BatchState memory state, uint8 why)
        private
    {
        _batches[digest].state = State.Killed;
        _unexpose(batch, state.signers);
        for (uint256 rest = state.disputed; rest != 0; rest &= rest - 1) {
            _undispute(batch, digest, _lowestOf(rest));
        }
        _unlock(batch, batch.fiatTotal, 0);
        emit Killed(digest, why, msg.sender);
    }

    // Disputes ----------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function dispute(Batch calldata batch, uint256 leaf, bytes32 reasonDigest)
        external
        returns (uint256 disputeId)
    {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        if (state.disputed >> leaf & 1 == 1) revert LeafAside(leaf);
        uint64 amount = _setAside(batch, digest, batch.leaves[leaf], leaf);
        PolicyParameters memory terms = _termsAt(uint40(block.timestamp));
        uint256 bond = Math.max(Split.inC4E(amount, batch.c4eRate), terms.disputeBond)
            << _countOf(state.disputed);
        disputeId = _disputeIdOf(digest, leaf);
        _disputes[disputeId] = Dispute({
            digest: digest,
            disputer: msg.sender,
            bond: bond.toUint96(),
            asset: batch.asset,
            amount: amount,
            openedAt: uint40(block.timestamp),
            leaf: uint8(leaf),
            isOpen: true
        });
        _batches[digest].disputed = state.disputed | uint48(1 << leaf);
        emit Disputed(disputeId, digest, uint8(leaf), msg.sender, reasonDigest, bond);
        REGISTRY.freeze(state.signers, uint40(block.timestamp) + terms.rulingTimeout);
        _pull(address(C4E), msg.sender, bond);
    }

    /// @inheritdoc ISettlementHub
    function rule(uint256 disputeId, Batch calldata batch, bool leafStands) external {
        if (msg.sender != POLICY.governor()) revert NotGovernor(msg.sender);
        (Dispute memory it, uint112 signers) = _endDispute(disputeId, batch, leafStands);
        if (leafStands) {
            address host = _payAside(batch, it, signers);
            _credit(host, address(C4E), it.bond);
        } else {
            _giveBack(batch, it);
            _credit(it.disputer, address(C4E), it.bond);
            REGISTRY.slash(signers, SLASH_BPS, it.disputer);
        }
    }

    /// @inheritdoc ISettlementHub
    function endDispute(uint256 disputeId, Batch calldata batch) external {
        (Dispute memory it, uint112 signers) = _endDispute(disputeId, batch, true);
        uint40 from = it.openedAt + _termsAt(it.openedAt).rulingTimeout;
        if (block.timestamp < from) revert TooEarly(from);
        address host = _payAside(batch, it, signers);
        uint256 lost = Split.shareOf(it.bond, LOST_BOND_TO_HOST_BPS);
        _credit(host, address(C4E), lost);
        _credit(it.disputer, address(C4E), it.bond - lost);
    }

    /// @dev Takes a leaf's amount out of escrow or lock until its dispute ends.
    function _setAside(Batch calldata batch, bytes32 digest, Leaf calldata leaf, uint256 place)
        private
        returns (uint64 amount)
    {
        Run memory run = _begin(batch, digest);
        if (!_takeLeaf(run, batch, leaf)) revert NotPayable(place);
        _keepBits(run);
        amount = leaf.money.amount();
        if (leaf.meter.rail() == Rail.Fiat) _unlock(batch, amount, amount);
        else amount += leaf.money.vat();
    }

    /// @dev The batch of the dispute was killed: its leaf may come again.
    function _undispute(Batch calldata batch, bytes32 digest, uint256 place) private {
        uint256 disputeId = _disputeIdOf(digest, place);
        Dispute memory it = _disputes[disputeId];
        _disputes[disputeId].isOpen = false;
        Leaf calldata leaf = batch.leaves[place];
        if (leaf.meter.rail() == Rail.Fiat) {
            _gateways[batch.gateway][batch.asset].locked += it.amount;
        } else {
            Escrow storage escrow = _escrows[
                escrowIdOf(leaf.party.payer(), batch.operatorId, leaf.money.sessionKey())
            ];
            escrow.assetIndex = POLICY.assetIndex(batch.asset);
            escrow.max = it.amount;
        }
        uint256 cdrNo = leaf.party.cdrNo();
        _settled[_laneOf(batch.operatorId, batch.asset)][cdrNo >> 8] &= ~(1 << (cdrNo & 0xff));
        emit DisputeEnded(disputeId, false);
        _credit(it.disputer, address(C4E), it.bond);
    }

    function _endDispute(uint256 disputeId, Batch calldata batch, bool leafStands)
        private
        returns (Dispute memory it, uint112 signers)
    {
        it = _disputes[disputeId];
        bytes32 digest = batchDigest(batch);
        if (!it.isOpen || it.digest != digest) revert NoDispute(disputeId);
        BatchState memory state = _batches[digest];
        if (state.state != State.Settled) revert WrongState(digest, state.state);
        _disputes[disputeId].isOpen = false;
        emit DisputeEnded(disputeId, leafStands);
        return (it, state.signers);
    }

    /// @dev Pays the leaf as `settle` would have. Returns its host.
    function _payAside(Batch calldata batch, Dispute memory it, uint112 signers)
        private
        returns (address)
    {
        Run memory run = _begin(batch, it.digest);
        Leaf calldata leaf = batch.leaves[it.leaf];
        _divide(run, batch, leaf);
        _payOut(run, batch, signers);
        return run.earnings[leaf.meter.passportIndex()].host;
    }

    function _giveBack(Batch calldata batch, Dispute memory it) private {
        Leaf calldata leaf = batch.leaves[it.leaf];
        if (leaf.meter.rail() == Rail.Fiat) {
            _gateways[batch.gateway][batch.asset].free += it.amount;
        } else {
            _credit(leaf.party.payer(), batch.asset, it.amount);
        }
    }

    // Reading -----------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function batchDigest(Batch calldata batch) public view returns (bytes32) {
        return _hashTypedDataV4(BatchLib.hashBatch(batch));
    }

    /// @inheritdoc ISettlementHub
    function batchOf(bytes32 digest) external view returns (BatchState memory) {
        return _batches[digest];
    }

    /// @inheritdoc ISettlementHub
    function isSettled(OperatorId operatorId, address asset, uint48 cdrNo)
        external
        view
        returns (bool)
    {
        return _settled[_laneOf(operatorId, asset)][cdrNo >> 8] >> (cdrNo & 0xff) & 1 == 1;
    }

    /// @inheritdoc ISettlementHub
    function settledWord(OperatorId operatorId, address asset, uint256 word)
        external
        view
        returns (uint256)
    {
        return _settled[_laneOf(operatorId, asset)][word];
    }

    /// @inheritdoc ISettlementHub
    function exposureOf(uint8 index) external view returns (uint256) {
        return _exposures[index];
    }

    /// @inheritdoc ISettlementHub
    function disputeOf(uint256 disputeId) external view returns (Dispute memory) {
        return _disputes[disputeId];
    }

    /// @inheritdoc ISettlementHub
    function rateBounds(OperatorId operatorId, address asset)
        public
        view
        returns (uint128 last, uint128 least, uint128 most)
    {
        if (asset == address(C4E)) {
            last = uint128(Split.RATE_UNIT);
            return (last, last, last);
        }
        LaneRate memory lane = _rates[_laneOf(operatorId, asset)];
        if (lane.rate == 0) {
            uint32 version = POLICY.versionAt(uint40(block.timestamp));
            most = POLICY.assetOf(version, asset).c4eRate;
            // Without a row there is no rate at all: then least is above most.
            return (0, most == 0 ? 1 : most, most);
        }
        (least, most) = Split.rateBounds(lane.rate, Split.daysSince(lane.at, block.timestamp));
        return (lane.rate, least, most);
    }

    function _pending(Batch calldata batch)
        private
        view
        returns (bytes32 digest, BatchState memory state)
    {
        digest = batchDigest(batch);
        state = _batches[digest];
        if (state.state != State.Pending) revert WrongState(digest, state.state);
    }

    function _challengeable(Batch calldata batch, uint256 leaf)
        private
        view
        returns (bytes32 digest, BatchState memory state)
    {
        (digest, state) = _pending(batch);
        if (block.timestamp > state.windowEndsAt) revert WindowOver(state.windowEndsAt);
        if (leaf >= batch.leaves.length) revert BadLeaf(leaf, "place");
    }

    /// @dev Whether those who signed and were not caught signing two things are still enough.
    function _hasQuorum(BatchState memory state) private view returns (bool) {
        (, uint112 slashed) = REGISTRY.masks();
        return _countOf(state.signers & ~slashed) >= state.quorum;
    }

    function _walletTotalOf(Batch calldata batch) private pure returns (uint256 total) {
        uint256 count = batch.leaves.length;
        for (uint256 i = 0; i < count; ++i) {
            Leaf calldata leaf = batch.leaves[i];
            if (leaf.meter.rail() == Rail.Wallet) {
                total += uint256(leaf.money.amount()) + leaf.money.vat();
            }
        }
    }

    function _laneOf(OperatorId operatorId, address asset) private pure returns (bytes32) {
        return keccak256(abi.encode(operatorId, asset));
    }

    function _disputeIdOf(bytes32 digest, uint256 leaf) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(digest, leaf)));
    }

    function _lowestOf(uint256 bits) private pure returns (uint8) {
        return uint8(Math.log2(bits & (~bits + 1)));
    }

    function _countOf(uint256 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlementHub} from "../../src/interfaces/ISettlementHub.sol";
import {Attestation, Batch, Leaf, LeafMeter, Rail} from "../../src/Types.sol";
import {AttesterRegistry, C4EToken, Coin, TestEuro} from "../Contracts.sol";
import {SettlementHubFixture} from "../SettlementHubFixture.sol";
import {vm} from "../Vm.sol";

/// @dev Payers, a gateway, a host, an operator, honest and lying attesters, challengers and a
/// Governor act at random on the contracts of production. Attester 0 signs only what is true:
/// session n has one bill, in the asset of its parity, whose leaf is a function of n. What chance
/// seldom brings about is in SettlementHubScenes, which derives from this.
abstract contract SettlementHubHandler is SettlementHubFixture {
    struct Session {
        address asset;
        uint64 max;
        bool isFiat;
        bool isOpened;
    }

    /// @dev How an escrow is opened.
    enum Way {
        Never,
        Approval,
        Permit,
        Authorization
    }

    uint256 public constant PAYERS = 4;
    uint256 private constant MOST_SESSIONS = 160;

    uint256 public clock;
    Session[] public sessions;
    bytes[] internal _batches;
    bool[] internal _isHonest;
    uint256[] public disputes;
    /// @dev How often the number of a lane was paid.
    mapping(address asset => mapping(uint48 cdrNo => uint256)) public payments;
    mapping(bytes32 => uint256) public did;

    constructor() {
        deployAll(2);
        appointGovernor();
        clock = time();
        sessions.push();
    }

    modifier atClock() {
        vm.warp(clock);
        _;
    }

    // Reading -----------------------------------------------------------------------------------

    function contracts()
        external
        view
        returns (ISettlementHub, AttesterRegistry, C4EToken, TestEuro)
    {
        return (hub, registry, c4e, euro);
    }

    function gateway() external view returns (address) {
        return GATEWAY;
    }

    function host() external view returns (address) {
        return HOST;
    }

    function passportAt(uint256 i) external view returns (bytes32) {
        return passports[i];
    }

    function totalNotified(uint256 id, address asset) external view returns (uint256) {
        return shares.totalNotified(id, asset);
    }

    function batchCount() external view returns (uint256) {
        return _batches.length;
    }

    function disputeCount() external view returns (uint256) {
        return disputes.length;
    }

    function sessionCount() external view returns (uint256) {
        return sessions.length;
    }

    function batchAt(uint256 i) public view returns (Batch memory) {
        return abi.decode(_batches[i], (Batch));
    }

    /// @dev Everybody who can ever be credited.
    function accounts() public view returns (address[] memory list) {
        list = new address[](PAYERS + ATTESTERS + 7);
        for (uint256 i = 0; i < PAYERS; ++i) {
            list[i] = payerOf(i);
        }
        for (uint8 i = 0; i < ATTESTERS; ++i) {
            list[PAYERS + i] = beneficiaryOf(i);
        }
        uint256 n = PAYERS + ATTESTERS;
        (list[n], list[n + 1], list[n + 2], list[n + 3]) = (HOST, GATEWAY, PROPOSER, KEEPER);
        (list[n + 4], list[n + 5], list[n + 6]) = (STRANGER, GOVERNOR, address(timelock));
    }

    // Time and money ----------------------------------------------------------------------------

    function wait(uint256 duration) external atClock {
        clock += duration % 2 == 0 ? bound(duration, 1 hours, 9 days) : duration % 8 hours;
        ++did["wait"];
    }

    function open(uint256 seed) external atClock {
        if (sessions.length >= MOST_SESSIONS) return;
        Way way = seed % 4 < 2 ? Way.Never : Way(1 + (seed >> 100) % 3);
        addSession(way, seed % 4 == 0, uint64(bound(seed >> 8, 1, 12e6)));
    }

    function lowerMax(uint256 seed, uint64 max) external atClock {
        (uint256 session, Escrow memory escrow) = pickEscrow(seed);
        if (escrow.assetIndex == 0) return;
        max = uint64(bound(max, 0, escrow.max - 1));
        uint64 until = uint64(time());
        address payer = payerOfSession(session);
        bytes memory signature = sign(OPERATOR_KEY, lowerDigest(idOf(session), max, until));
        uint256 before = hub.withdrawable(payer, assetOf(session));
        hub.lowerMax(payer, OPERATOR, keyOf(session), max, until, signature);
        assertEq(hub.withdrawable(payer, assetOf(session)) - before, escrow.max - max);
        ++did["lower"];
    }

    function askRefund(uint256 seed) external atClock {
        (uint256 session, Escrow memory escrow) = pickEscrow(seed);
        if (escrow.assetIndex == 0) return;
        bool isDue = time() >= escrow.openedAt + 11 days;
        vm.prank(payerOfSession(session));
        try hub.askRefund(OPERATOR, keyOf(session)) {
            assertTrue(isDue, "asked too early");
            ++did["ask refund"];
        } catch {
            assertFalse(isDue, "could not ask");
        }
    }

    function refund(uint256 seed) external atClock {
        (uint256 session, Escrow memory escrow) = pickEscrow(seed);
        if (escrow.assetIndex == 0 || escrow.askedAt == 0) return;
        bool isDue = time() >= escrow.askedAt + 3 days;
        try hub.refund(payerOfSession(session), OPERATOR, keyOf(session)) {
            assertTrue(isDue, "refunded too early");
            ++did["refund"];
        } catch {
            assertFalse(isDue, "refund refused");
        }
    }

    function deposit(uint256 seed) external atClock {
        depositGateway(assetOf(seed), uint128(bound(seed >> 8, 1, 20e6)));
        ++did["deposit"];
    }

    function withdrawGateway(uint256 seed) external atClock {
        uint128 free = freeOf(assetOf(seed));
        if (free == 0) return;
        vm.prank(GATEWAY);
        hub.withdrawGateway(assetOf(seed), uint128(bound(seed >> 8, 1, free)));
        ++did["withdraw gateway"];
    }

    function hostBalance(uint256 seed) external atClock {
        (uint128 prepaid,) = hub.prepaidOf(HOST);
        if (seed % 3 == 0) {
            vm.prank(HOST);
            hub.setMaxRate(seed % 2 == 0 ? 0 : EURO_RATE - 1);
        } else if (seed % 3 == 1 || prepaid == 0) {
            prepay(uint128(bound(seed >> 8, 1, 40e6)));
            ++did["prepay"];
        } else {
            vm.prank(HOST);
            hub.unprepay(uint128(bound(seed >> 8, 1, prepaid)));
            ++did["unprepay"];
        }
    }

    function withdraw(uint256 seed) external atClock {
        address[] memory all = accounts();
        withdrawFor(all[seed % all.length], assetOf(seed >> 128));
    }

    function withdrawFor(address account, address asset) internal {
        uint256 owed = hub.withdrawable(account, asset);
        vm.prank(KEEPER);
        assertEq(hub.withdrawFor(account, asset), owed);
        if (owed != 0) ++did["withdraw"];
    }

    function claim(uint256 seed) external atClock {
        uint256 id = uint256(passports[seed % passports.length]);
        if (shares.claim(id, assetOf(seed >> 8), HOST) != 0) ++did["claim"];
    }

    // Batches -----------------------------------------------------------------------------------

    /// @dev Honest: true leaves, signed by 0 and others. Else 1, 2, 3 sign whatever suits them.
    function propose(uint256 seed) external atClock {
        if (sessions.length < 4) return;
        bool isHonest = seed % 3 != 0;
        Batch memory batch = batchFrom(seed, isHonest);
        uint112 signers = isHonest ? uint112(seed >> 200 & 1 == 0 ? 7 : 11) : 14;
        (uint112 active,) = registry.masks();
        signers &= active;
        bytes32 digest = hub.batchDigest(batch);
        bytes memory signature;
        if (batch.gateway != address(0)) signature = sign(GATEWAY_KEY, digest);
        vm.prank(KEEPER);
        try hub.propose(batch, attest(digest, signers), signature) {
            keep(batch, isHonest);
        } catch {
            ++did["refuse to propose"];
        }
    }

    /// @dev I14: whatever is missing in a quorum's word, nothing is proposed by it.
    function proposeWithoutQuorum(uint256 seed) external atClock {
        if (sessions.length < 4) return;
        Batch memory batch = batchFrom(seed, true);
        bytes32 digest = hub.batchDigest(batch);
        bytes memory signature;
        if (batch.gateway != address(0)) signature = sign(GATEWAY_KEY, digest);
        (uint112 active,) = registry.masks();
        uint256 kind = seed % 5;
        Attestation memory attestation;
        if (kind == 0) attestation = attest(digest, 1);
        else if (kind == 1) attestation = attest(keccak256(abi.encode(digest)), active);
        else if (kind == 2) attestation = attest(digest, active | 16);
        else attestation = attest(digest, active);
        if (kind == 3) attestation.signatures[1] = attestation.signatures[0];
        uint256 chain = block.chainid;
        if (kind == 4) vm.chainId(chain + 1);
        try hub.propose(batch, attestation, signature) {
            assertTrue(false, "I14: proposed without a quorum");
        } catch {
            ++did["refuse without a quorum"];
        }
        vm.chainId(chain);
        assertTrue(hub.batchOf(digest).state == State.None, "I14");
    }

    /// @dev I11: before the window's end nothing; then what the mask says, once a number (I3).
    function settle(uint256 seed) external atClock {
        if (_batches.length == 0) return;
        settleAt(pickBatch(seed));
    }

    function settleAt(uint256 i) public atClock {
        Batch memory batch = batchAt(i);
        BatchState memory state = hub.batchOf(hub.batchDigest(batch));
        bool isDue = state.state == State.Pending && time() > state.windowEndsAt;
        uint128 locked = lockedOf(batch.asset);
        vm.prank(KEEPER);
        try hub.settle(batch) returns (uint48 paid) {
            assertTrue(isDue, "settled before its time or twice");
            ++did["settle"];
            assertEq(paid & state.disputed, 0);
            uint256 aside;
            uint256 fiatPaid;
            for (uint256 k = 0; k < batch.leaves.length; ++k) {
                Leaf memory leaf = batch.leaves[k];
                bool isFiat = leaf.meter.rail() == Rail.Fiat;
                if (isFiat && state.disputed >> k & 1 == 1) aside += leaf.money.amount();
                if (paid >> k & 1 == 0) {
                    if (state.disputed >> k & 1 == 0) ++did["skip"];
                    continue;
                }
                countPayment(batch.asset, leaf.party.cdrNo());
                if (isFiat) fiatPaid += leaf.money.amount();
                else assertEq(hub.escrowOf(leafEscrow(leaf)).max, 0, "closed");
                ++did[isFiat ? bytes32("pay from gateway") : bytes32("pay from escrow")];
            }
            assertLe(fiatPaid + aside, batch.fiatTotal, "I4");
            assertEq(locked - lockedOf(batch.asset), batch.fiatTotal - aside);
        } catch {
            assertFalse(isDue && hasQuorum(state), "liveness: settle");
        }
    }

    function killWithoutQuorum(uint256 seed) external atClock {
        if (_batches.length != 0) killWithoutQuorumAt(pickBatch(seed));
    }

    function killWithoutQuorumAt(uint256 i) internal {
        Batch memory batch = batchAt(i);
        BatchState memory state = hub.batchOf(hub.batchDigest(batch));
        bool isDue = state.state == State.Pending && !hasQuorum(state);
        try hub.killWithoutQuorum(batch) {
            assertTrue(isDue, "killed with a quorum");
            ++did["kill without quorum"];
        } catch {
            assertFalse(isDue, "not killed without quorum");
        }
    }

    /// @dev I25: an honest batch is never impossible.
    function challengeImpossible(uint256 seed) external atClock {
        if (_batches.length != 0) challengeImpossibleAt(pickBatch(seed));
    }

    function challengeImpossibleAt(uint256 i) internal {
        Batch memory batch = batchAt(i);
        bool hasDispute = hub.batchOf(hub.batchDigest(batch)).disputed != 0;
        for (uint256 k = 0; k < batch.leaves.length; ++k) {
            vm.prank(STRANGER);
            try hub.challengeImpossible(batch, k) {
                assertFalse(_isHonest[i], "an honest batch was impossible");
                ++did["kill the impossible"];
                if (hasDispute) ++did["kill with a dispute"];
                return;
            } catch {
                ++did["find no fault"];
            }
        }
    }

    /// @dev An honest batch can be killed by a lie of others, but costs no honest signer anything.
    function challengeOverlap(uint256 seed) external atClock {
        if (_batches.length != 0) challengeOverlapAt(pickBatch(seed), pickBatch(seed >> 64));
    }

    function challengeOverlapAt(uint256 later, uint256 earlier) internal {
        Batch memory batch = batchAt(later);
        Batch memory other = batchAt(earlier);
        for (uint256 i = 0; i < batch.leaves.length; ++i) {
            for (uint256 k = 0; k < other.leaves.length; ++k) {
                vm.prank(STRANGER);
                try hub.challengeOverlap(batch, i, other, k) {
                    ++did["kill for overlap"];
                    return;
                } catch {}
            }
        }
    }

    function dispute(uint256 seed) external atClock {
        if (_batches.length == 0 || seed % 3 == 0) return;
        disputeAt(pickBatch(seed), seed >> 128);
    }

    function disputeAt(uint256 i, uint256 leaf) internal {
        Batch memory batch = batchAt(i);
        c4e.transfer(STRANGER, 2_000e6);
        vm.startPrank(STRANGER);
        c4e.approve(address(hub), type(uint256).max);
        try hub.dispute(batch, leaf % batch.leaves.length, "reason") returns (uint256 id) {
            disputes.push(id);
            ++did["dispute"];
        } catch {}
        vm.stopPrank();
    }

    /// @dev The Governor is right: the honest leaf stands, the lie falls.
    function rule(uint256 seed) external atClock {
        if (disputes.length != 0) ruleAt(seed % disputes.length);
    }

    function ruleAt(uint256 k) internal {
        uint256 id = disputes[k];
        Dispute memory it = hub.disputeOf(id);
        uint256 i = placeOf(it.digest);
        vm.prank(GOVERNOR);
        try hub.rule(id, batchAt(i), _isHonest[i]) {
            ++did[_isHonest[i] ? bytes32("rule: stands") : bytes32("rule: falls")];
            if (_isHonest[i]) countPayment(it.asset, batchAt(i).leaves[it.leaf].party.cdrNo());
        } catch {}
    }

    function endDispute(uint256 seed) external atClock {
        if (disputes.length == 0) return;
        endDisputeAt(seed % disputes.length);
    }

    function endDisputeAt(uint256 k) public atClock {
        uint256 id = disputes[k];
        Dispute memory it = hub.disputeOf(id);
        Batch memory batch = batchAt(placeOf(it.digest));
        bool isDue = it.isOpen && hub.batchOf(it.digest).state == State.Settled
            && time() >= it.openedAt + 21 days;
        vm.prank(KEEPER);
        try hub.endDispute(id, batch) {
            assertTrue(isDue, "a dispute ended too early");
            ++did["end dispute"];
            countPayment(it.asset, batch.leaves[it.leaf].party.cdrNo());
        } catch {
            assertFalse(isDue, "liveness: dispute");
        }
    }

    /// @dev Attester 3 is caught, late and once, while a batch needs his signature.
    function equivocate(uint256 seed) external atClock {
        (, uint112 slashed) = registry.masks();
        if (seed % 10 != 0 || slashed != 0 || did["propose a lie"] < 2) return;
        slashTheThird();
    }

    function slashTheThird() internal {
        Batch memory needs = batchOf(addSession(Way.Approval, false, 10e6));
        uint256 place = put(needs, 14, false);
        Batch memory a = emptyBatch(address(euro), 1);
        Batch memory b = emptyBatch(address(euro), 1);
        a.leaves[0] = leafOf(1, 0, Rail.Wallet, 1, 0);
        b.leaves[0] = leafOf(1, 0, Rail.Wallet, 2, 0);
        bytes memory signatureA = sign(attesterKey(3), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(3), hub.batchDigest(b));
        vm.prank(STRANGER);
        registry.slashEquivocation(3, a, 0, signatureA, b, 0, signatureB);
        ++did["equivocate"];
        killWithoutQuorumAt(place);
    }

    /// @dev A stranger with nothing but what is public: 60 days later all is settled, killed,
    /// ended, refunded and withdrawn.
    function finish() external {
        clock += 30 days;
        vm.warp(clock);
        for (uint256 i = 0; i < _batches.length; ++i) {
            Batch memory batch = batchAt(i);
            BatchState memory state = hub.batchOf(hub.batchDigest(batch));
            if (state.state != State.Pending) continue;
            if (hasQuorum(state)) settleAt(i);
            else hub.killWithoutQuorum(batch);
        }
        for (uint256 k = 0; k < disputes.length; ++k) {
            if (hub.disputeOf(disputes[k]).isOpen) endDisputeAt(k);
        }
        for (uint256 session = 0; session < sessions.length; ++session) {
            if (hub.escrowOf(idOf(session)).assetIndex == 0) continue;
            vm.prank(payerOfSession(session));
            hub.askRefund(OPERATOR, keyOf(session));
        }
        clock += 3 days;
        vm.warp(clock);
        for (uint256 session = 0; session < sessions.length; ++session) {
            if (hub.escrowOf(idOf(session)).assetIndex == 0) continue;
            hub.refund(payerOfSession(session), OPERATOR, keyOf(session));
        }
        address[] memory all = accounts();
        for (uint256 i = 0; i < all.length; ++i) {
            hub.withdrawFor(all[i], address(c4e));
            hub.withdrawFor(all[i], address(euro));
        }
    }

    // Steps -------------------------------------------------------------------------------------

    function assetOf(uint256 session) public view returns (address) {
        return session % 2 == 0 ? address(euro) : address(c4e);
    }

    function payerOfSession(uint256 session) public pure returns (address) {
        return payerOf(session % PAYERS);
    }

    function idOf(uint256 session) public pure returns (bytes32) {
        return keccak256(abi.encode(payerOfSession(session), OPERATOR, keyOf(session)));
    }

    function hasQuorum(BatchState memory state) public view returns (bool) {
        (, uint112 slashed) = registry.masks();
        uint256 count;
        for (uint256 i = 0; i < ATTESTERS; ++i) {
            count += (state.signers & ~slashed) >> i & 1;
        }
        return count >= state.quorum;
    }

    /// @dev The next session; its escrow in the way given.
    function addSession(Way way, bool isFiat, uint64 max) internal returns (uint256 session) {
        session = sessions.length;
        address asset = assetOf(session);
        sessions.push(Session(asset, max, isFiat, way != Way.Never));
        if (way == Way.Never) return session;
        fund(asset, payerOfSession(session), max);
        if (way == Way.Approval) {
            openByApproval(session, asset, max);
            ++did["open"];
        } else if (way == Way.Permit) {
            openByPermit(Coin(asset), session % PAYERS, session, max);
            ++did["open by permit"];
        } else {
            openByAuthorization(Coin(asset), session % PAYERS, session, max);
            ++did["open by authorization"];
        }
        assertEq(hub.escrowOf(idOf(session)).max, max, "opened");
    }

    function openByApproval(uint256 session, address asset, uint64 max) private {
        uint256 key = payerKey(session % PAYERS);
        address payer = vm.addr(key);
        vm.startPrank(payer);
        if (asset == address(c4e)) c4e.approve(address(hub), max);
        else euro.approve(address(hub), max);
        vm.stopPrank();
        uint64 until = uint64(time());
        bytes memory signature = sign(key, openDigest(OPERATOR, keyOf(session), asset, max, until));
        hub.open(payer, OPERATOR, keyOf(session), asset, max, until, signature);
    }

    function keep(Batch memory batch, bool isHonest) private {
        _batches.push(abi.encode(batch));
        _isHonest.push(isHonest);
        ++did[isHonest ? bytes32("propose") : bytes32("propose a lie")];
    }

    /// @dev Proposes what must be proposable.
    function put(Batch memory batch, uint112 signers, bool isHonest)
        internal
        returns (uint256 place)
    {
        (uint112 active,) = registry.masks();
        bytes32 digest = hub.batchDigest(batch);
        bytes memory signature;
        if (batch.gateway != address(0)) signature = sign(GATEWAY_KEY, digest);
        hub.propose(batch, attest(digest, signers & active), signature);
        place = _batches.length;
        keep(batch, isHonest);
    }

    /// @dev The true leaf of one session, which is over.
    function batchOf(uint256 session) internal returns (Batch memory batch) {
        uint256 over = base + (session + 1) * 3700;
        if (clock < over) clock = over;
        vm.warp(clock);
        batch = emptyBatch(assetOf(session), 1);
        batch.treeSize = uint64(1000 + _batches.length);
        (, batch.c4eRate,) = hub.rateBounds(OPERATOR, batch.asset);
        Leaf memory leaf = trueLeaf(session);
        batch.leaves[0] = leaf;
        if (leaf.meter.rail() == Rail.Fiat) {
            batch.fiatTotal = leaf.money.amount();
            batch.gateway = GATEWAY;
        }
    }

    /// @dev Up to four sessions of one asset, from one on.
    function batchFrom(uint256 seed, bool isHonest) private view returns (Batch memory batch) {
        uint256 from = 1 + (seed >> 8) % (sessions.length - 1);
        uint256 count = 1 + (sessions.length - 1 - from) / 2;
        if (count > 4) count = 4;
        batch = emptyBatch(assetOf(from), count);
        batch.treeSize = uint64(1000 + _batches.length);
        (, uint128 least, uint128 most) = hub.rateBounds(OPERATOR, batch.asset);
        batch.c4eRate = uint128(bound(seed >> 32, least, most));
        bool hasFiat;
        for (uint256 i = 0; i < count; ++i) {
            Leaf memory leaf = trueLeaf(from + 2 * i);
            if (!isHonest) distort(leaf, seed >> (64 + 8 * i), from + 2 * i);
            batch.leaves[i] = leaf;
            if (leaf.meter.rail() == Rail.Fiat) {
                hasFiat = true;
                batch.fiatTotal += leaf.money.amount();
            }
        }
        if (hasFiat) batch.gateway = GATEWAY;
    }

    function trueLeaf(uint256 session) internal view returns (Leaf memory leaf) {
        uint64 amount = uint64(1e6 + session * 7919 % 3e6);
        Rail rail = sessions[session].isFiat ? Rail.Fiat : Rail.Wallet;
        leaf = leafOf(session, session % 2, rail, amount, amount / 5);
        leaf.party = party(payerOfSession(session), uint48(session), uint48(session));
    }

    /// @dev What a colluding quorum may try.
    function distort(Leaf memory leaf, uint256 seed, uint256 session) private view {
        uint256 kind = seed % 5;
        uint48 number = uint48(session);
        if (kind == 0) {
            leaf.money = money(sessions[session].max, 0, keyOf(session));
        } else if (kind == 1) {
            leaf.party = party(payerOfSession(session), number + 300, number);
        } else if (kind == 2) {
            leaf.party = party(payerOfSession(session), number, 0);
        } else if (kind == 3) {
            leaf.meter = LeafMeter.wrap(LeafMeter.unwrap(leaf.meter) | uint256(0xfffff) << 128);
        } else if (kind == 4) {
            leaf.meter = meter(base, base + SESSION, 1, 0, 1, leaf.meter.rail(), POLICY_VERSION);
        }
    }

    function countPayment(address asset, uint48 cdrNo) private {
        assertEq(++payments[asset][cdrNo], 1, "I3: a number paid twice");
        assertTrue(hub.isSettled(OPERATOR, asset, cdrNo), "paid and not marked");
    }

    function leafEscrow(Leaf memory leaf) private pure returns (bytes32) {
        return keccak256(abi.encode(leaf.party.payer(), OPERATOR, leaf.money.sessionKey()));
    }

    function pickEscrow(uint256 seed) private view returns (uint256 session, Escrow memory) {
        session = seed % sessions.length;
        for (uint256 i = 0; i < sessions.length; ++i) {
            if (hub.escrowOf(idOf(session)).assetIndex != 0) break;
            session = (session + 1) % sessions.length;
        }
        return (session, hub.escrowOf(idOf(session)));
    }

    /// @dev The later ones more often.
    function pickBatch(uint256 seed) private view returns (uint256) {
        uint256 count = _batches.length;
        return count > 4 && seed % 2 == 0 ? count - 1 - (seed >> 8) % 4 : (seed >> 8) % count;
    }

    function placeOf(bytes32 digest) private view returns (uint256 i) {
        while (hub.batchDigest(batchAt(i)) != digest) ++i;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {Challenges} from "./Challenges.sol";
import {HubState} from "./HubState.sol";
import {Split} from "./Split.sol";
import {Batch, Leaf, OperatorId, Rail} from "./Types.sol";

/// @title HubPayments: how leaves are paid, a whole batch or one whose dispute ended.
/// @dev A run reads and sums in memory; each slot of an account, a passport or a word of numbers
/// is written once.
abstract contract HubPayments is HubState {
    using SafeERC20 for IERC20;

    /// @dev A passport of a batch while the batch is paid: facts and sums.
    struct Earning {
        bool isRead;
        uint256 commissionBps;
        uint256 registeredAt;
        uint256 retiredAt;
        address host;
        uint256 hostSum;
        uint256 holdersSum;
    }

    /// @dev A batch while it is paid. Sums are in minor units of its asset, `burned` in C4E.
    struct Run {
        bytes32 digest;
        bytes32 lane;
        address asset;
        uint256 assetIndex;
        bool isC4E;
        uint256 c4eRate;
        address market;
        // The policy version read last.
        uint256 version;
        uint256 feeBps;
        uint256 opsBps;
        uint256 reserveBps;
        // The word of the lane's bits that is held here.
        uint256 word;
        uint256 bits;
        // By place in the batch's table of passports.
        Earning[] earnings;
        uint256 burned;
        uint256 feesInAsset;
        uint256 reserve;
        uint256 ops;
        uint128 fiatPaid;
    }

    function _begin(Batch calldata batch, bytes32 digest) internal view returns (Run memory run) {
        run.digest = digest;
        run.lane = _laneOf(batch.operatorId, batch.asset);
        run.asset = batch.asset;
        run.assetIndex = _assetIndexOf(batch.asset);
        run.isC4E = batch.asset == address(C4E);
        run.c4eRate = batch.c4eRate;
        run.market = POLICY.market();
        run.word = type(uint256).max;
        run.earnings = new Earning[](batch.passports.length);
    }

    /// @dev Takes what a leaf asks for out of escrow or lock and sets its number's bit, or leaves
    /// everything as it is and returns false.
    function _takeLeaf(
        Run memory run,
        OperatorId operatorId,
        Leaf calldata leaf,
        Earning memory earning
    ) internal returns (bool) {
        uint256 bit = _holdBit(run, leaf.party.cdrNo());
        if (run.bits & bit != 0) return false;
        if (!Challenges.isRegistered(earning.registeredAt, earning.retiredAt, leaf.meter.end())) {
            return false;
        }
        if (leaf.meter.rail() == Rail.Fiat) run.fiatPaid += leaf.money.amount();
        else if (!_draw(run, operatorId, leaf)) return false;
        run.bits |= bit;
        return true;
    }

    /// @dev Divides what was taken for a leaf among the sums of the run.
    function _divide(Run memory run, Leaf calldata leaf, Earning memory earning) internal {
        _readFees(run, leaf.meter.policyVersion());
        uint256 amount = leaf.money.amount();
        uint256 fee = Split.shareOf(amount, run.feeBps);
        uint256 ops = Split.shareOf(amount, run.opsBps);
        (uint256 reserve, uint256 host, uint256 holders) =
            Split.divide(amount, fee, ops, run.reserveBps, earning.commissionBps);
        // No sum of 48 numbers of 64 bits overflows.
        unchecked {
            run.reserve += reserve;
            run.ops += ops;
            earning.holdersSum += holders;
            if (leaf.meter.rail() == Rail.Wallet) host += leaf.money.vat();
            earning.hostSum += host + _takeFee(run, earning.host, fee);
        }
    }

    /// @dev Credits every sum of a run, then moves the holders' part: the only calls to tokens.
    function _payOut(Run memory run, Batch calldata batch, uint112 signers) internal {
        _credit(TIMELOCK, run.asset, run.feesInAsset);
        _credit(run.market, run.asset, run.reserve);
        _creditOps(run, batch.proposer, signers);
        uint256 count = run.earnings.length;
        uint256[] memory ids = new uint256[](count);
        uint256[] memory amounts = new uint256[](count);
        uint256 holdersSum;
        uint256 hostSum;
        for (uint256 i = 0; i < count; ++i) {
            Earning memory earning = run.earnings[i];
            ids[i] = uint256(batch.passports[i]);
            amounts[i] = earning.holdersSum;
            holdersSum += earning.holdersSum;
            hostSum += earning.hostSum;
            // Neighbours of one host are credited together.
            if (i + 1 < count && run.earnings[i + 1].host == earning.host) continue;
            _credit(earning.host, run.asset, hostSum);
            hostSum = 0;
        }
        emit FeesTaken(run.digest, run.burned, run.feesInAsset);
        if (run.burned != 0) C4E.burn(run.burned);
        if (holdersSum == 0) return;
        IERC20(run.asset).safeTransfer(address(SHARES), holdersSum);
        SHARES.notify(run.asset, ids, amounts);
    }

    function _keepBits(Run memory run) internal {
        if (run.word != type(uint256).max) _settled[run.lane][run.word] = run.bits;
    }

    /// @dev Draws a leaf's total, closes the escrow and gives the payer the rest.
    function _draw(Run memory run, OperatorId operatorId, Leaf calldata leaf)
        private
        returns (bool)
    {
        address payer = leaf.party.payer();
        Escrow storage escrow = _escrows[_escrowIdOf(payer, operatorId, leaf.money.sessionKey())];
        uint256 max = escrow.max;
        uint256 total = _walletAmountOf(leaf);
        if (escrow.assetIndex != run.assetIndex || total > max) return false;
        _close(escrow);
        _credit(payer, run.asset, max - total);
        return true;
    }

    /// @dev Returns what of the fee in the asset is the host's, because he paid it in C4E.
    function _takeFee(Run memory run, address host, uint256 fee) private returns (uint256) {
        if (run.isC4E) {
            run.burned += fee;
            return 0;
        }
        HostBalance storage balance = _hosts[host];
        (uint256 prepaid, uint256 maxRate) = (balance.amount, balance.maxRate);
        uint256 need = Split.inC4E(fee, run.c4eRate);
        if (need > prepaid || (maxRate != 0 && run.c4eRate > maxRate)) {
            run.feesInAsset += fee;
            return 0;
        }
        balance.amount = uint128(prepaid - need);
        run.burned += need;
        return fee;
    }

    function _creditOps(Run memory run, address proposer, uint112 signers) private {
        if (run.ops == 0) return;
        (uint256 eachSigner, uint256 toProposer, uint256 toCaller) =
            Split.divideOps(run.ops, _countOf(signers));
        if (eachSigner != 0) {
            for (uint8 i = 0; signers >> i != 0; ++i) {
                if (!_has(signers, i)) continue;
                _credit(REGISTRY.attesterOf(i).beneficiary, run.asset, eachSigner);
            }
        }
        _credit(proposer, run.asset, toProposer);
        _credit(msg.sender, run.asset, toCaller);
    }

    /// @dev Facts of a passport at a place of the table, read once a run.
    function _earningOf(Run memory run, Batch calldata batch, uint256 place)
        internal
        view
        returns (Earning memory)
    {
        Earning memory earning = run.earnings[place];
        if (!earning.isRead) {
            earning.isRead = true;
            (earning.host, earning.commissionBps, earning.registeredAt, earning.retiredAt) =
                PASSPORT.settlementFacts(batch.passports[place]);
        }
        return earning;
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
}

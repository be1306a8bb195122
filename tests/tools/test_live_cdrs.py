"""CDRs that the real server exports cost the same by TandemDrive's `ocpi-tariffs`.

Part of `make test-tools`: needs `ocpi-tariffs`, which Rust builds.
"""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.tools import judge_tariffs
from tests.tools.conftest import TARIFF, Network


def test_exported_cdrs__foreign_price_engine__same_totals(
    network: Network, charged: list[dict[str, Any]], tmp_path: Path
) -> None:
    tool = judge_tariffs.find_tool()
    cdr_file, tariff_file = tmp_path / "cdr.json", tmp_path / "tariff.json"
    for bill in charged:
        network.server.command("session", "cdr", bill["session_id"], "-o", str(cdr_file))
        cdr = json.loads(cdr_file.read_text(), parse_float=Decimal)
        [tariff] = cdr["tariffs"]
        assert tariff["id"] == TARIFF["id"]
        tariff_file.write_text(json.dumps(tariff, default=float))
        zone = ["--time-zone", "Europe/Amsterdam"]
        ours = network.server.command(
            *["tariff", "price", str(tariff_file), "--cdr", str(cdr_file), *zone]
        )
        theirs = judge_tariffs.judged(tool, cdr, tariff, zone[1])
        for vat, name in (("Excl", "net"), ("Incl", "gross")):
            exact = Fraction(ours[f"{name}_exact"])
            assert abs(Fraction(theirs[None, vat]) - exact) <= judge_tariffs.PRINTED, bill
        for name in ("net_minor", "vat_minor", "gross_minor"):
            assert ours[name] == bill[name]
        assert cdr["total_cost"]["excl_vat"] * 100 == bill["net_minor"]
        assert cdr["total_cost"]["incl_vat"] * 100 == bill["gross_minor"]

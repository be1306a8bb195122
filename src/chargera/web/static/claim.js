// Pays a holder from a wallet of the browser: the server wrote the call, the wallet signs it.
(() => {
  "use strict";
  const area = document.getElementById("wallet");
  const said = document.getElementById("wallet-said");
  if (!area || !said) return;
  const WRONG_CHAIN = 4902; // EIP-3085: the wallet does not know the chain yet

  function say(text, tone) {
    said.textContent = text;
    said.className = `notice is-${tone}`;
  }

  // The wallet must be on the network's own chain, or it would send elsewhere.
  async function choose(wallet) {
    const chainId = area.dataset.chain;
    try {
      await wallet.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
    } catch (error) {
      if (error.code !== WRONG_CHAIN) throw error;
      const chain = {
        chainId,
        chainName: `ChargEra ${area.dataset.network}`,
        rpcUrls: [area.dataset.rpc],
        nativeCurrency: { name: "HBAR", symbol: "HBAR", decimals: 18 },
      };
      await wallet.request({ method: "wallet_addEthereumChain", params: [chain] });
    }
  }

  async function claim(button) {
    const wallet = window.ethereum;
    if (!wallet) return say(area.dataset.none, "warn");
    say(area.dataset.asking, "warn");
    button.disabled = true;
    try {
      const [from] = await wallet.request({ method: "eth_requestAccounts" });
      await choose(wallet);
      const call = { from, to: button.dataset.to, data: button.dataset.call };
      const hash = await wallet.request({ method: "eth_sendTransaction", params: [call] });
      say(`${area.dataset.sent} ${hash}`, "good");
    } catch (error) {
      say(`${area.dataset.refused} ${error.message ?? ""}`.trim(), "bad");
    } finally {
      button.disabled = false;
    }
  }

  area.addEventListener("click", (event) => {
    const button = event.target.closest("button.claim");
    if (button) claim(button);
  });
})();

// Makes signing repeatable: a clock that stands still and random bytes that count.
// Import it before anything that might capture the real ones.
import { webcrypto } from "node:crypto";

export const NOW_SECONDS = 1_750_000_000;

// The first well-known development key: it holds nothing anywhere.
export const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

Date.now = () => NOW_SECONDS * 1000;

let draws = 0;
Object.defineProperty(globalThis, "crypto", {
  configurable: true,
  value: {
    subtle: webcrypto.subtle,
    randomUUID: () => "00000000-0000-4000-8000-000000000000",
    getRandomValues(bytes) {
      draws += 1;
      for (let i = 0; i < bytes.length; i += 1) bytes[i] = (draws * 17 + i * 7) & 255;
      return bytes;
    },
  },
});

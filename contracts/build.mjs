// Compiles every contract under src/ with the pinned compiler and writes artifacts/<Name>.json for people and tools,
// and artifacts/<Name>.bin, the bare code that is embedded: the runtime code of what a genesis holds, and the creation
// code of what is deployed by tests or only ever run by its constructor.
// With --check it writes nothing and fails if a committed artifact is not what the sources compile to.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const solc = createRequire(import.meta.url)("solc");
const root = fileURLToPath(new URL(".", import.meta.url));
const check = process.argv.includes("--check");

const settings = {
  optimizer: { enabled: true, runs: 10000 },
  evmVersion: "cancun",
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

// Run on every chain there is, some of which are behind: for the oldest EVM that still has all they use.
const DEPLOYLESS = { "TransferProbe.sol": { ...settings, evmVersion: "paris" } };

// On no chain from the start, and made with arguments.
const DEPLOYED = new Set(["Accounts.sol", "Delegations.sol", "HostileAccounts.sol", "HostileDeposits.sol"]);

const files = readdirSync(join(root, "src")).filter((file) => file.endsWith(".sol")).sort();
const sources = Object.fromEntries(
  files.map((file) => [file, { content: readFileSync(join(root, "src", file), "utf8") }]),
);

const deployed = Object.fromEntries(Object.entries(sources).filter(([file]) => !(file in DEPLOYLESS)));
let stale = 0;
for (const [file, contracts] of Object.entries(compile(deployed, settings))) emitAll(file, contracts, settings);
for (const [file, own] of Object.entries(DEPLOYLESS)) {
  emitAll(file, compile({ [file]: sources[file] }, own)[file], own);
}
process.exit(stale === 0 ? 0 : 1);

function compile(sources, settings) {
  const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = (output.errors ?? []).map((error) => error.formattedMessage);
  if (problems.length > 0) {
    console.error(problems.join("\n"));
    process.exit(1);
  }
  return output.contracts;
}

function emitAll(file, contracts, settings) {
  const [kind, part] = file in DEPLOYLESS || DEPLOYED.has(file) ? ["creation", "bytecode"] : ["runtime", "deployedBytecode"];
  for (const [name, contract] of Object.entries(contracts)) {
    const code = contract.evm[part].object;
    // Interfaces and abstract contracts have no code of their own; libraries are inlined.
    if (code === "" || contract.abi.length === 0) continue;
    const compiler = { version: solc.version(), settings };
    const artifact = { contract: name, compiler, abi: contract.abi, [kind]: `0x${code}` };
    emit(`${name}.json`, Buffer.from(`${JSON.stringify(artifact, null, 2)}\n`));
    emit(`${name}.bin`, Buffer.from(code, "hex"));
  }
}

function emit(name, content) {
  const path = join(root, "artifacts", name);
  if (!check) {
    writeFileSync(path, content);
  } else if (!existsSync(path) || !readFileSync(path).equals(content)) {
    console.error(`artifacts/${name} is not what the sources compile to: run \`npm run build\``);
    stale += 1;
  }
}

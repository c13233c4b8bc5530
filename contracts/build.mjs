// Compiles every contract under src/ with the pinned compiler and writes artifacts/<Name>.json for people and tools,
// and artifacts/<Name>.bin, the bare runtime code that the devnet embeds.
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

const files = readdirSync(join(root, "src")).filter((file) => file.endsWith(".sol")).sort();
const sources = Object.fromEntries(
  files.map((file) => [file, { content: readFileSync(join(root, "src", file), "utf8") }]),
);
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } } },
    }),
  ),
);

const problems = (output.errors ?? []).map((error) => error.formattedMessage);
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}

let stale = 0;
for (const file of files) {
  for (const [name, contract] of Object.entries(output.contracts[file])) {
    const runtime = contract.evm.deployedBytecode.object;
    // Interfaces and abstract contracts have no code of their own.
    if (runtime === "") continue;
    const artifact = {
      contract: name,
      compiler: { version: solc.version(), settings },
      abi: contract.abi,
      runtime: `0x${runtime}`,
    };
    emit(`${name}.json`, Buffer.from(`${JSON.stringify(artifact, null, 2)}\n`));
    emit(`${name}.bin`, Buffer.from(runtime, "hex"));
  }
}
process.exit(stale === 0 ? 0 : 1);

function emit(name, content) {
  const path = join(root, "artifacts", name);
  if (!check) {
    writeFileSync(path, content);
  } else if (!existsSync(path) || !readFileSync(path).equals(content)) {
    console.error(`artifacts/${name} is not what the sources compile to: run \`npm run build\``);
    stale += 1;
  }
}

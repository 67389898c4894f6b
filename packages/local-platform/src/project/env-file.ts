import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Puts variables into an .env file, readable by its owner only; lines about anything else stay.
 */
export function writeEnvFile(path: string, variables: Record<string, string>): void {
  const others = existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => !((/^\s*(?:export\s+)?(\w+)\s*=/.exec(line)?.[1] ?? "") in variables))
    : [];
  while (others.at(-1) === "") others.pop();
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  writeFileSync(path, `${[...others, ...lines].join("\n")}\n`, { mode: 0o600 });
  // The mode above is for a new file only.
  chmodSync(path, 0o600);
}

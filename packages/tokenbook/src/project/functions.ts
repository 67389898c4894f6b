/** Tokenbook's edge functions, as they go into a project: with what they import, and under its own folder. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { parse } from "smol-toml";
import { assetPath } from "../assets.ts";
import { Failure } from "local-platform/terminal/failure";

/** Where the code goes that several functions share: a project has a `_shared` of its own. */
const sharedFolder = "_tokenbook";

/** What is installed where nothing else is said: what a frontend and an admin need. Webhooks want settings first. */
export const usualFunctions = ["balance", "grant", "admin-adjust", "plans"];

/** All that there are, in the order of the alphabet. */
export function allFunctions(): string[] {
  const folder = assetPath("functions/");
  return readdirSync(folder).filter((name) => isFile(join(folder, name, "index.ts")));
}

/** A function to be installed: ours, and by which name it is to be called there. */
export interface ChosenFunction {
  name: string;
  as: string;
}

/**
 * Reads `--functions`: `balance,stripe-webhook:tokenbook-stripe`, `all` or `none`.
 *
 * @throws Failure when there is no such function, or a name that Supabase would refuse.
 */
export function readChoice(choice: string): ChosenFunction[] {
  if (choice === "none") return [];
  if (choice === "all") return allFunctions().map((name) => ({ name, as: name }));
  const all = allFunctions();
  const chosen = choice.split(",").map((one) => {
    const [name = "", as = name] = one.trim().split(":");
    if (!all.includes(name)) throw new Failure(`There is no function ${name}. There are: ${all.join(", ")}.`);
    if (!/^[A-Za-z][\w-]*$/.test(as)) throw new Failure(`A function cannot be called ${as}.`);
    return { name, as };
  });
  const twice = chosen.find(({ as }, nth) => chosen.findIndex((other) => other.as === as) !== nth);
  if (twice) throw new Failure(`Two functions cannot both be called ${twice.as}.`);
  return chosen;
}

/** The files of these functions and of all that they import, by their paths in `supabase/functions`. */
export function functionFiles(chosen: readonly ChosenFunction[]): Map<string, string> {
  const folder = assetPath("functions/");
  const files = new Map<string, string>();
  const queue = chosen.flatMap(({ name, as }) =>
    readdirSync(join(folder, name)).map((file) => ({ from: `${name}/${file}`, to: `${as}/${file}` })),
  );
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (files.has(next.to)) continue;
    const text = readFileSync(join(folder, next.from), "utf8");
    files.set(next.to, text.replaceAll('"../_shared/', `"../${sharedFolder}/`));
    for (const path of importsOf(text).filter((one) => one.startsWith("."))) {
      const from = normalize(join(dirname(next.from), path));
      const [first] = from.split("/");
      if (first === "_shared") queue.push({ from, to: from.replace("_shared", sharedFolder) });
    }
  }
  return files;
}

/** What a module imports, as it is written. */
export function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)";|^import "([^"]+)";/gm)].map(
    ([, named, bare]) => (named ?? bare)!,
  );
}

/** Their blocks of config.toml: each of ours says that the function itself looks who is calling. */
export function functionBlocks(chosen: readonly ChosenFunction[]): string {
  return chosen
    .map(({ as }) => `\n[functions.${tomlKey(as)}]\nverify_jwt = false # it looks itself who is calling\n`)
    .join("");
}

/** The functions that a config.toml says something of. */
export function configuredFunctions(config: string): string[] {
  const { functions } = parse(config) as { functions?: Record<string, unknown> };
  return Object.keys(functions ?? {});
}

/** A config.toml without the blocks that {@link functionBlocks} made, as it was before them. */
export function withoutBlocks(config: string, chosen: readonly ChosenFunction[]): string {
  let text = config;
  for (const one of chosen) text = text.replace(functionBlocks([one]), "");
  return text;
}

const tomlKey = (name: string) => (/^[\w-]+$/.test(name) ? name : JSON.stringify(name));

function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}

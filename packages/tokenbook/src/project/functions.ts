/** Tokenbook's edge functions, as they go into a project: with what they import, and under its own folder. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parse } from "smol-toml";
import { assetPath } from "../assets.ts";
import { Failure } from "local-platform/terminal/failure";
import type { InstallRecord } from "./record.ts";

/** Where the code goes that several functions share: a project has a `_shared` of its own. */
const sharedFolder = "_tokenbook";

/** Which settings they take, for a person to read; `.env…` a project's .gitignore may name. */
const settingsFile = `${sharedFolder}/env.example`;

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
  if (chosen.length > 0) files.set(settingsFile, readFileSync(join(folder, ".env.example"), "utf8"));
  return files;
}

/**
 * Files of the project's own functions that import something of ours, by their paths in `supabase/`.
 *
 * @param record what was installed.
 */
export function importersOf(root: string, record: InstallRecord | undefined): string[] {
  const folder = join(root, "supabase/functions");
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]sx?$/.test(entry.name))
    .map((entry) =>
      relative(join(root, "supabase"), join(entry.parentPath, entry.name)).replaceAll("\\", "/"),
    )
    .filter((path) => !(path in (record?.files ?? {})) && !/\/(node_modules|_tokenbook)\//.test(path))
    .filter((path) =>
      new RegExp(`["'][^"'\n]*\\b${sharedFolder}/`).test(readFileSync(join(root, "supabase", path), "utf8")),
    )
    .toSorted();
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

/**
 * The functions that a config.toml says something of.
 *
 * @throws Failure when it is no TOML.
 */
export const configuredFunctions = (config: string): string[] => Object.keys(read(config).functions);

/** Why our blocks cannot be added at the end of a config.toml; undefined when they can. */
export function whyNotWithBlocks(config: string, chosen: readonly ChosenFunction[]): string | undefined {
  try {
    parse(withBlocks(config, chosen));
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
}

/** As it is, formatting and comments and all, with ours behind it. */
export function withBlocks(config: string, chosen: readonly ChosenFunction[]): string {
  const blocks = functionBlocks(chosen);
  return blocks === "" ? config : (/(^|\n)$/.test(config) ? config : `${config}\n`) + blocks;
}

/**
 * A config.toml without the blocks that {@link functionBlocks} made, as it was before them, however it was formatted since.
 * A block in which there is more now than was written stays, and so does one whose lines cannot be told from others.
 *
 * @returns the text, and whose blocks stay.
 */
export function withoutBlocks(
  config: string,
  chosen: readonly ChosenFunction[],
): { text: string; stay: ChosenFunction[] } {
  let text = config;
  const stay: ChosenFunction[] = [];
  for (const one of chosen) {
    if (!configuredFunctions(text).includes(one.as)) continue;
    const without = withoutBlock(text, one.as);
    if (without === undefined) stay.push(one);
    else text = without;
  }
  return { text, stay };
}

/** Takes the lines of a block away; undefined where that would not be all of it, and nothing else. */
function withoutBlock(config: string, name: string): string | undefined {
  const { [name]: block, ...others } = read(config).functions;
  if (!isDeepStrictEqual(block, { verify_jwt: false })) return undefined;
  const lines = config.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  for (const [at, line] of lines.entries()) {
    if (!isHeaderOf(line, name)) continue;
    const key = lines.findIndex((other, nth) => nth > at && other.trim() !== "");
    if (key < 0) continue;
    const isBlankBefore = at > 0 && lines[at - 1]!.trim() === "";
    const left = [...lines.slice(0, isBlankBefore ? at - 1 : at), ...lines.slice(key + 1)].join("");
    // what a parser reads of it decides, and not how it looks: a header can stand in a text
    if (isDeepStrictEqual(read(left), { ...read(config), functions: others })) return left;
  }
  return undefined;
}

function isHeaderOf(line: string, name: string): boolean {
  if (!line.trimStart().startsWith("[")) return false;
  try {
    return isDeepStrictEqual(plain(line), { functions: { [name]: {} } });
  } catch {
    return false;
  }
}

/** As objects like those that are written here: the parser's have no prototype. */
const plain = (toml: string) => structuredClone<Record<string, unknown>>(parse(toml));

function read(config: string): Record<string, unknown> & { functions: Record<string, unknown> } {
  try {
    return { functions: {}, ...plain(config) };
  } catch (error) {
    throw new Failure(`supabase/config.toml is no TOML: ${(error as Error).message}`);
  }
}

const tomlKey = (name: string) => (/^[\w-]+$/.test(name) ? name : JSON.stringify(name));

function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}

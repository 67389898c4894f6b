/*
 * npm run docs:build [-- --version <version>] [--into <folder>] [--base <path>]
 *
 * Makes the site in a folder a version: `next/` is what is here and not released, `0.1.0/` the pages of that release.
 * The folders of other versions stay as they are; versions.json lists all, and index.html leads to the newest release.
 * Ends with 1, and says where, if a page is missing in the list, or a link leads nowhere.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { followLinks } from "./check.ts";
import { targetOf } from "./links.ts";
import { everything, markdownFor, markdownOf, shortList } from "./llms.ts";
import { withoutCode } from "./markdown.ts";
import { faultsOf, pages, root } from "./pages.ts";

const begin = performance.now();
const { values } = parseArgs({
  options: {
    version: { type: "string", default: "next" },
    into: { type: "string", default: join(root, "website", "dist") },
    base: { type: "string", default: "/" },
  },
});
const { version, base } = values;
if (!/^(next|\d+\.\d+\.\d+)$/.test(version)) throw new Error(`"${version}" is no version: next, or 1.2.3.`);
if (!/^\/([\w.-]+\/)*$/.test(base))
  throw new Error(`"${base}" is no place on a host: it begins and ends with /.`);
const site = resolve(values.into);
const folder = join(site, version);

const faults = [...faultsOf(), ...pages.flatMap(deadLinksOf)];
if (faults.length === 0) {
  process.env["DOCS_VERSION"] = version;
  process.env["DOCS_BASE"] = base;
  process.env["DOCS_OUT"] = folder;
  rmSync(folder, { recursive: true, force: true });
  const { build } = await import("vitepress");
  await build(join(root, "website"));
  copySources();
  writeForPrograms();
  listVersions();
  const { pages: count, links, dead } = followLinks(folder, `${base}${version}/`);
  faults.push(...dead.map((link) => `a dead link in ${link}`));
  console.log(
    `pages=${count} links=${links} dead=${dead.length} megabytes=${(sizeOf(folder) / 1e6).toFixed(1)} seconds=${((performance.now() - begin) / 1000).toFixed(1)}`,
  );
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;

function linksOf(page: string): string[] {
  const text = withoutCode(readFileSync(join(root, page), "utf8")).replaceAll(/`[^`\n]*`/g, "``");
  return [...text.matchAll(/(?<!!)\[[^\]]*\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
}

function deadLinksOf(page: string): string[] {
  return linksOf(page)
    .filter((link) => targetOf(page, link).kind === "dead")
    .map((link) => `${page}: a link to ${link}, which is not there`);
}

/** The files of the repository that pages link to. */
function copySources(): void {
  for (const page of pages) {
    for (const target of linksOf(page).map((link) => targetOf(page, link))) {
      if (target.kind !== "file") continue;
      const copy = join(folder, target.href);
      mkdirSync(dirname(copy), { recursive: true });
      cpSync(join(root, target.file), copy);
    }
  }
}

/** llms.txt, llms-full.txt, and each page's Markdown beside its HTML. */
function writeForPrograms(): void {
  const place = `${base}${version}/`;
  for (const file of pages) writeFileSync(join(folder, markdownOf(file)), markdownFor(file, place));
  writeFileSync(join(folder, "llms.txt"), shortList(place));
  writeFileSync(join(folder, "llms-full.txt"), everything(place));
}

/** What is beside the versions: their list, and a page that leads to the newest release. */
function listVersions(): void {
  const versions = readdirSync(site)
    .filter((name) => /^(next|\d+\.\d+\.\d+)$/.test(name) && existsSync(join(site, name, "index.html")))
    .sort((one, other) =>
      other === "next" ? 1 : one === "next" ? -1 : other.localeCompare(one, "en", { numeric: true }),
    );
  const first = versions.find((name) => name !== "next") ?? "next";
  writeFileSync(join(site, "versions.json"), `${JSON.stringify(versions)}\n`);
  writeFileSync(
    join(site, "index.html"),
    `<!doctype html><html lang="en"><title>Tokenbook</title><meta http-equiv="refresh" content="0; url=${first}/"><a href="${first}/">Tokenbook ${first}</a></html>\n`,
  );
}

function sizeOf(path: string): number {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(join(path, name)))
    .reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0);
}

/*
 * Where a link of a page leads in the site. A page links to files, as they lie in the repository; here, and
 * nowhere else, that becomes an address.
 *
 * - A page of the site: its address, which is known by its file.
 * - A folder with such a page in it (docs/decisions): that page.
 * - Another file: its text as it was when the site was built, under source/. Where DOCS_SOURCE says at which
 *   address the repository can be read (`https://…/blob/v0.1.0/`), the file there.
 * - Another folder: with DOCS_SOURCE its address, otherwise words that are no link.
 */
import { existsSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { addressOf, home, pages, root } from "./pages.ts";

export type Target =
  | { kind: "outside"; href: string }
  | { kind: "page"; href: string }
  | { kind: "file"; href: string; file: string }
  | { kind: "words" }
  | { kind: "dead" };

const repository = process.env["DOCS_SOURCE"];

export function targetOf(page: string, link: string, source = repository): Target {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return { kind: "outside", href: link };
  const [path = "", anchor] = link.split("#");
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (path === "") return { kind: "page", href: hash };
  const file = posix.join(dirname(page), decodeURI(path)).replace(/\/$/, "");
  const asPage = [file, `${file}/README.md`].find((name) => pages.includes(name) || name === home);
  if (asPage !== undefined) return { kind: "page", href: `/${addressOf(asPage)}${hash}` };
  if (file.startsWith("..") || !existsSync(join(root, file))) return { kind: "dead" };
  if (source !== undefined) return { kind: "outside", href: new URL(`${file}${hash}`, source).href };
  if (statSync(join(root, file)).isDirectory()) return { kind: "words" };
  return { kind: "file", href: `/${copyOf(file)}`, file };
}

/** The place of a source file's copy. `.txt`: a browser shows it and does not run or keep it. */
export function copyOf(file: string): string {
  return `source/${file.replace(/^\.|\/\./g, (dot) => dot.replace(".", "dot-"))}.txt`;
}

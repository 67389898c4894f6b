/** The blocks of code of the project's pages, as a Markdown parser finds them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { marked, type Token, type Tokens } from "marked";
import { projectRoot } from "../../../scripts/project.ts";

/** A block of code. */
export interface Snippet {
  page: string;
  /** Where its fence stands; for messages. */
  line: number;
  /** What follows the opening fence, up to the first space. */
  language: string;
  text: string;
  /** Whether there is a closing fence: without one the rest of the page is code. */
  isClosed: boolean;
}

const markdownIn = (folder: string) =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name))
    .toSorted();

/** Pages whose blocks are tried: what somebody reads who uses Tokenbook. */
export const guides = [
  "README.md",
  "packages/tokenbook/README.md",
  ...markdownIn("packages/tokenbook/skills"),
  ...markdownIn("docs/guides"),
];

/** Every page. */
export const pages = [
  ...readdirSync(projectRoot).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(projectRoot, "packages")).map((name) => join("packages", name, "README.md")),
  ...markdownIn("packages/tokenbook/skills"),
  ...markdownIn("docs"),
];

/** The blocks of a page, in its order; those in lists too. */
export function snippetsOf(page: string): Snippet[] {
  return snippetsIn(page, readFileSync(join(projectRoot, page), "utf8"));
}

/** The same of a text. */
export function snippetsIn(page: string, markdown: string): Snippet[] {
  const found: Snippet[] = [];
  let from = 0;
  const visit = (token: Token) => {
    if (token.type !== "code") return;
    const { raw, lang, text } = token as Tokens.Code;
    const [opening = "", first = ""] = raw.split("\n");
    const isFenced = /^(```|~~~)/.test(opening);
    // the raw text of one in a list has lost its indentation
    const begin = new RegExp(`^ *${escaped(opening)}\\n *${escaped(first.trim())}`, "m");
    const at = from + markdown.slice(from).search(begin);
    from = at + opening.length;
    found.push({
      page,
      line: markdown.slice(0, at).split("\n").length,
      language: isFenced ? (lang ?? "").split(" ")[0]! : "indented",
      text,
      isClosed: isFenced && raw.trimEnd().split("\n").length > 1 && /\n(```+|~~~+)$/.test(raw.trimEnd()),
    });
  };
  void marked.walkTokens(marked.lexer(markdown), visit);
  return found;
}

const escaped = (text: string) => text.replaceAll(/[^\w\s]/g, "\\$&");

/** Where somebody finds it who is told of it. */
export const where = ({ page, line }: Snippet) => `${page}:${line}`;

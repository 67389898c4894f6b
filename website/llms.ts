/** llms.txt and llms-full.txt (https://llmstxt.org): the site for a program that reads, from the same list as the menu. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { targetOf } from "./links.ts";
import { about, addressOf, fileOf, groups, pages, root } from "./pages.ts";
import { openingOf } from "./readme.ts";

/** Where the Markdown of a page is, beside its HTML. */
export function markdownOf(file: string): string {
  return addressOf(file).replace(/\.html$/, ".md");
}

/** A line a page: its title, where its Markdown is, and its first sentence. */
export function shortList(base: string): string {
  const { text, tagline } = openingOf();
  const lists = groups.map(({ title, pages: entries }) => {
    const lines = entries
      .map(fileOf)
      .filter((file) => file !== undefined)
      .map((file) => ({ file, ...about(file) }))
      .map(({ file, title: name, description }) => `- [${name}](${base}${markdownOf(file)}): ${description}`);
    return [`## ${title}`, "", ...lines].join("\n");
  });
  return `${["# Tokenbook", `> ${text} ${tagline}`, ...lists].join("\n\n")}\n`;
}

/** Every page, in the menu's order; before each where it is. */
export function everything(base: string): string {
  return pages
    .map((file) => `<!-- ${base}${markdownOf(file)} -->\n\n${markdownFor(file, base).trim()}\n`)
    .join("\n\n");
}

/** A page as it is written, with links that lead to the site. */
export function markdownFor(page: string, base: string): string {
  return readFileSync(join(root, page), "utf8")
    .split(/(^ *```[^]*?^ *```$)/m)
    .map((part, index) => (index % 2 === 1 ? part : withAddresses(part)))
    .join("");

  function withAddresses(text: string): string {
    return text.replaceAll(/(?<!!)\[([^\]]*)\]\(([^)\s]+)\)/g, (whole, words: string, link: string) => {
      const target = targetOf(page, link);
      if (target.kind === "words") return words;
      if (target.kind === "file") return `[${words}](${base}${target.href.slice(1)})`;
      if (target.kind !== "page" || target.href.startsWith("#")) return whole;
      return `[${words}](${base}${target.href.slice(1).replace(".html", ".md")})`;
    });
  }
}

/** What the first page of the site takes from README.md, so that it is written once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { plainText } from "./markdown.ts";
import { root } from "./pages.ts";

export interface Opening {
  /** The first sentence: for whom it is. */
  text: string;
  /** The rest of the first paragraph: what it does. */
  tagline: string;
  /** The first block of commands and the first picture, as Markdown. */
  commands: string;
  picture: string;
  /** The first list: a promise each. */
  features: { title: string; details: string }[];
}

export function openingOf(readme = readFileSync(join(root, "README.md"), "utf8")): Opening {
  const [, first = "", ...blocks] = readme.split(/^## /m)[0]!.split(/\n\s*\n/);
  const [, text, tagline] = /^(.*?\.) (.*)$/s.exec(first) ?? [];
  const commands = blocks.find((block) => block.startsWith("```bash\n") && block.endsWith("```"));
  const picture = blocks.find((block) => /^!\[[^\]]*\]\([^)]*\)$/.test(block));
  const list = blocks.find((block) => block.startsWith("- "));
  if (!text || !tagline || !commands || !picture || !list)
    throw new Error(
      "README.md does not begin with a paragraph of two sentences, commands, a picture and a list.",
    );
  return {
    text: plainText(text),
    tagline: plainText(tagline),
    commands,
    picture,
    features: [...list.matchAll(/^- \*\*(.+?)\.?\*\* (.*)$/gm)].map(([, title, details]) => ({
      title: plainText(title!),
      details: plainText(details!),
    })),
  };
}

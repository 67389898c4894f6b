/** What the first page of the site takes from README.md, so that it is written once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { plainText } from "./markdown.ts";
import { root } from "./pages.ts";

export interface Opening {
  /** The first sentence: what it is. */
  text: string;
  /** The rest of the first paragraph: what it does for whom. */
  tagline: string;
  /** The first list: a promise each. */
  features: { title: string; details: string }[];
  /** The first picture, as Markdown, and the commands under a heading of README. */
  picture: string;
  commands: (heading: string) => string;
}

export function openingOf(readme = readFileSync(join(root, "README.md"), "utf8")): Opening {
  const blocks = readme.split(/\n\s*\n/);
  const [, first] = blocks;
  const [, text, tagline] = /^(.*?\.) (.*)$/s.exec(first ?? "") ?? [];
  const picture = blocks.find((block) => /^!\[[^\]]*\]\([^)]*\)$/.test(block));
  if (text === undefined || tagline === undefined || picture === undefined)
    throw new Error("README.md does not begin with a paragraph of two sentences and a picture.");
  const list =
    blocks
      .slice(
        0,
        blocks.findIndex((block) => block.startsWith("## ")),
      )
      .find((block) => block.startsWith("- ")) ?? "";
  return {
    text: plainText(text),
    tagline: plainText(tagline),
    features: [...list.matchAll(/^- \*\*(.+?)\.?\*\* (.*)$/gm)].map(([, title, details]) => ({
      title: plainText(title!),
      details: plainText(details!),
    })),
    picture,
    commands(heading) {
      const section = readme.split(/^## /m).find((one) => one.startsWith(`${heading}\n`));
      const block = /^```bash\n[^]*?^```$/m.exec(section ?? "")?.[0];
      if (block === undefined) throw new Error(`README.md has no commands under "${heading}".`);
      return block;
    },
  };
}
